#include "vec.h"

#include <num.h>

namespace vec {

int squared_length(const Vector &vector)
{
    return num_clamped(num_square(vector.x) + num_square(vector.y));
}

}  // namespace vec
