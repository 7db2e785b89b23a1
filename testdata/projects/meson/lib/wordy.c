#include "config.h"
#include "words.h"

const char *words_version(void)
{
    return WORDS_VERSION;
}
