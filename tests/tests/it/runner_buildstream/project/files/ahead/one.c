#include "one.h"
int one(void);
int one(void) { return NUMBER; }
