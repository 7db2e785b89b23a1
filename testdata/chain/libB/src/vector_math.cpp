#include "vector_math.h"

#include <math_utils.h>

namespace math {

int squared_length(const Vector &vector) { return sum_of_squares(vector.x, vector.y); }

Vector scaled(const Vector &vector) { return {scaled(vector.x), scaled(vector.y)}; }

}  // namespace math
