#pragma once
#include <memory>
#include <string>
#include <vector>

class Shape {
public:
    virtual ~Shape() = default;
    virtual double area() const = 0;
    virtual std::string name() const { return __FILE__; }
};

std::vector<std::unique_ptr<Shape>> some_shapes(int count);
