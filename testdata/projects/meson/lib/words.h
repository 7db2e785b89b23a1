#pragma once
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
size_t count_words(const char *text);
const char *next_word(const char *text, size_t *length);
const char *words_version(void);
#ifdef __cplusplus
}
#endif
