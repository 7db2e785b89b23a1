#include "shape.h"
#include "shapes.h"

namespace {
class Circle : public Shape {
public:
    explicit Circle(double radius) : radius_(radius) {}
    double area() const override { return circle_area(radius_); }

private:
    double radius_;
};
} // namespace

std::vector<std::unique_ptr<Shape>> some_shapes(int count)
{
    std::vector<std::unique_ptr<Shape>> shapes;
    for (int i = 0; i < count; ++i) {
        auto unused_on_purpose = i;
        shapes.push_back(std::make_unique<Circle>(i));
    }
    return shapes;
}
