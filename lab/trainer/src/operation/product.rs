//! Matrix products on slices, on the calling thread alone.
//!
//! A batch is cut into parts that are computed by a thread each, so products need no threads of their own: nothing waits
//! for a neighbour, and sums do not depend on how many threads there are.

/// A matrix in a slice, with any strides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row without gaps.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// Rows that start `row_stride` values apart.
    pub(super) fn strided(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(covers(values.len(), rows, columns, row_stride), "a matrix of {rows} x {columns} outside its slice");
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// Rows as columns.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Where a product goes: rows of a slice that start `row_stride` values apart.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) row_stride: usize,
    /// Adds to what is there instead of replacing it.
    pub(super) adds: bool,
}

impl<'a> Destination<'a> {
    /// Replaces what is in `values`.
    pub(super) fn new(values: &'a mut [f32], row_stride: usize) -> Self {
        Self { values, row_stride, adds: false }
    }

    /// Adds to what is in `values`.
    pub(super) fn adding(values: &'a mut [f32], row_stride: usize) -> Self {
        Self { values, row_stride, adds: true }
    }
}

/// `scale * left * right` into `out`.
pub(super) fn multiply(left: Matrix<'_>, right: Matrix<'_>, scale: f32, out: Destination<'_>) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "inner sides of a product differ");
    assert!(covers(out.values.len(), rows, columns, out.row_stride), "a product outside its slice");
    if rows == 0 || columns == 0 {
        return;
    }
    let stride = usize::cast_signed;
    #[expect(unsafe_code, reason = "the products' library takes pointers")]
    // SAFETY: all three matrices lie within their slices, which was asserted for these sizes and strides; `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.values.as_mut_ptr(),
            1,
            stride(out.row_stride),
            out.adds,
            left.values.as_ptr(),
            stride(left.column_stride),
            stride(left.row_stride),
            right.values.as_ptr(),
            stride(right.column_stride),
            stride(right.row_stride),
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn covers(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_transposition_scale_and_addition() {
        // [[1, 2], [3, 4]] in rows of three; [[1, 0, 2], [0, 1, 1]].
        let left = [1.0, 2.0, 9.0, 3.0, 4.0];
        let right = [1.0, 0.0, 2.0, 0.0, 1.0, 1.0];
        let left = Matrix::strided(&left, 2, 2, 3);
        let mut out = [1.0; 8];
        multiply(left, Matrix::new(&right, 2, 3), 2.0, Destination::adding(&mut out, 4));
        assert_eq!(out, [3.0, 5.0, 9.0, 1.0, 7.0, 9.0, 21.0, 1.0]);
        let mut out = [0.0; 4];
        multiply(left.transposed(), left, 1.0, Destination::new(&mut out, 2));
        assert_eq!(out, [10.0, 14.0, 14.0, 20.0]);
    }

    #[test]
    #[should_panic(expected = "outside its slice")]
    fn a_matrix_larger_than_its_slice_is_refused() {
        let _ = Matrix::new(&[0.0; 5], 2, 3);
    }
}
