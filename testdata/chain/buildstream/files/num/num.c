#include "num.h"

int num_square(int value)
{
    return num_clamped(value * value);
}
