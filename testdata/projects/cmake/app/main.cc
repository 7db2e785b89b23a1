#include <iostream>
#include <map>

#include "shape.h"
#include "shapes.h"

extern "C" const char* plug_version();
extern "C" double plug_total(int count);

int main(int argc, char** argv)
{
    std::map<std::string, double> areas;
    for (const auto& shape : some_shapes(5)) areas[shape->name()] += shape->area();
    for (const auto& [name, area] : areas) std::cout << name << ' ' << area << '\n';
    std::cout << plug_version() << ' ' << plug_total(3) << ' ' << square_of(7) << '\n';
}
