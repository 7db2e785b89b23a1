#include "driver.h"
extern int net_ready(int);
static int probe(void)
{
#ifdef CONFIG_NET
	return net_ready(1);
#else
	return -1;
#endif
}
DRIVER("eth", probe);
