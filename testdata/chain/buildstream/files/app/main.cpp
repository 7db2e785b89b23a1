#include <cstdio>

#include <num.h>
#include <vec.h>

int main()
{
    std::printf("%d %d\n", vec::squared_length({3, 4}), num_clamped(NUM_STEP));
    return 0;
}
