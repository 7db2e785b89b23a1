#include "a.h"
int f(void){return A;}
