#include "driver.h"
extern int disk_ready(int);
static int probe(void) { return disk_ready(2); }
DRIVER("block", probe);
