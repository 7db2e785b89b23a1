#include <cassert>
#include <iostream>

#include "text.h"
#include "words.h"

int main(int argc, char **argv)
{
    assert(count_words("a b") == 2);
    for (const auto &word : words_of("one two  three"))
        std::cout << word << '\n';
}
