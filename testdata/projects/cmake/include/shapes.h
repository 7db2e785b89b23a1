#pragma once
#ifdef __cplusplus
extern "C" {
#endif
double circle_area(double radius);
int square_of(unsigned number);
#ifdef __cplusplus
}
#endif
