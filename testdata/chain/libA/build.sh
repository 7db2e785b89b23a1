recc g++ -O2 -c src/math_utils.cpp -o math_utils.o
rear rcs libmath_utils.a math_utils.o
reranlib libmath_utils.a
mkdir -p "$DESTDIR/sysroot/include" "$DESTDIR/sysroot/lib"
cp src/math_utils.h "$DESTDIR/sysroot/include/"
cp libmath_utils.a "$DESTDIR/sysroot/lib/"
