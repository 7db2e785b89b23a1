#pragma once
#include <string>
#include <vector>
std::vector<std::string> words_of(const std::string &text);
