#include "shapes.h"

#include <math.h>

double circle_area(double radius)
{
    int unused_on_purpose = 1;
    return M_PI * radius * radius;
}
