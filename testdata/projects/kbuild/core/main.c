#include <stdio.h>
#include "driver.h"

extern const struct driver __start_drivers[], __stop_drivers[];
extern int entry_value(void);

int main(void)
{
	unsigned found = 0;
	for (const struct driver *d = __start_drivers; d < __stop_drivers; d++)
		if (d->probe() >= 0)
			found++;
	printf("%s: %u drivers, %d\n", KBUILD_BASENAME, found, entry_value());
	return found == 2 ? 0 : 1;
}
