int s;
#include <stddef.h>
