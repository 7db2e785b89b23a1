#include <ctype.h>

#include "words.h"

const char *next_word(const char *text, size_t *length)
{
    while (isspace((unsigned char)*text))
        text++;
    if (!*text)
        return NULL;
    for (*length = 0; text[*length] && !isspace((unsigned char)text[*length]); ++*length)
        ;
    return text;
}
