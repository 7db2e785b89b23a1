recc g++ -O2 -I/sysroot/include -c src/vector_math.cpp -o vector_math.o
rear rcs libvector_math.a vector_math.o
reranlib libvector_math.a
mkdir -p "$DESTDIR/sysroot/include" "$DESTDIR/sysroot/lib"
cp src/vector_math.h "$DESTDIR/sysroot/include/"
cp libvector_math.a "$DESTDIR/sysroot/lib/"
