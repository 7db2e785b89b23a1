#include "math_utils.h"

namespace math {

int square(int value) { return value * value; }

int sum_of_squares(int left, int right) { return scaled(square(left) + square(right)); }

}  // namespace math
