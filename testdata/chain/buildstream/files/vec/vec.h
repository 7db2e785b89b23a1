// Vectors on top of num.
#pragma once

namespace vec {

struct Vector {
    int x;
    int y;
};

int squared_length(const Vector &vector);

}  // namespace vec
