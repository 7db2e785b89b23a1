// Vectors in the plane, on top of libA.
#pragma once

namespace math {

struct Vector {
    int x;
    int y;
};

int squared_length(const Vector &vector);
Vector scaled(const Vector &vector);

}  // namespace math
