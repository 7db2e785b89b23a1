#include "text.h"

#include "words.h"

std::vector<std::string> words_of(const std::string &text)
{
    std::vector<std::string> words;
    size_t length;
    for (const char *at = text.c_str(); (at = next_word(at, &length)); at += length)
        words.emplace_back(at, length);
    return words;
}
