// Small arithmetic that everybody needs.
#pragma once

namespace math {

constexpr int scale = 2;

inline int scaled(int value) { return value * scale; }

int square(int value);
int sum_of_squares(int left, int right);

}  // namespace math
