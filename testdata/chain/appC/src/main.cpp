#include <cstdio>

#include <math_utils.h>
#include <vector_math.h>

int main() {
    const math::Vector vector{3, 4};
    const math::Vector twice = math::scaled(vector);
    std::printf("%d %d %d\n", math::squared_length(vector), twice.x, math::square(twice.y));
    return 0;
}
