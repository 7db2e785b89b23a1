#include "shape.h"
#include "version.h"

extern "C" const char* plug_version() { return SHAPES_VERSION; }

extern "C" double plug_total(int count)
{
    double total = 0;
    for (const auto& shape : some_shapes(count)) total += shape->area();
    return total;
}
