#include <stdio.h>

#include "words.h"

int main(void)
{
    printf("%s %zu\n", words_version(), count_words("one two  three"));
    return 0;
}
