#include "not/there.h"
int three(void) { return 3; }
