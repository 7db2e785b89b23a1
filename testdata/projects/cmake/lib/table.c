#include "shapes.h"
#include "table.h"

int square_of(unsigned number)
{
    /* The comparison of signs is one of the warnings. */
    for (int i = 0; i < sizeof table / sizeof *table; i++)
        if (i == number)
            return table[i];
    return -1;
}
