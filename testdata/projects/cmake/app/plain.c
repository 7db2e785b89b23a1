#include <stdio.h>

#include "shapes.h"

int main(void)
{
    printf("%d %f\n", square_of(9), circle_area(2.0));
    return 0;
}
