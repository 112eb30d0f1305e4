//! From DataFusion's expressions to conditions that a scan understands.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use moulin_read::{Comparison, Condition, Literal, Test};

/// What `expression` says of one column of `schema`, if it says no more than that.
pub(super) fn condition(expression: &Expr, schema: &Schema) -> Option<Condition> {
    let of = |column: &Expr, test: Test| {
        let Expr::Column(column) = column else { return None };
        Some(Condition { column: schema.field_with_name(&column.name).ok()?.name().clone(), test })
    };
    match expression {
        Expr::IsNull(inner) => of(inner, Test::IsNull),
        Expr::IsNotNull(inner) => of(inner, Test::IsNotNull),
        // A boolean column stands for itself.
        Expr::Column(_) => of(expression, Test::Compare(Comparison::Equal, Literal::Boolean(true))),
        Expr::Not(inner) => of(inner, Test::Compare(Comparison::Equal, Literal::Boolean(false))),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (column, Expr::Literal(value, _)) => of(column, Test::Compare(comparison(*op)?, literal(value)?)),
            (Expr::Literal(value, _), column) => of(column, Test::Compare(comparison(op.swap()?)?, literal(value)?)),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

pub(super) fn literal(value: &ScalarValue) -> Option<Literal> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Literal::Boolean(*value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Literal::Text(text.clone())
        }
        ScalarValue::Date32(Some(days)) => Literal::Date(*days),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Literal::Timestamp(*micros),
        integer if integer.data_type().is_integer() && !integer.is_null() => {
            match integer.cast_to(&DataType::Int64).ok()? {
                ScalarValue::Int64(Some(value)) => Literal::Long(value),
                _ => return None,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn comparisons_of_one_column_with_a_value_are_conditions() {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("late", DataType::Boolean, true)]);
        let said = |expression: Expr| condition(&expression, &schema);
        let n = |comparison, value| {
            Some(Condition { column: "n".into(), test: Test::Compare(comparison, Literal::Long(value)) })
        };
        assert_eq!(said(col("n").gt(lit(3_i64))), n(Comparison::Greater, 3));
        assert_eq!(said(lit(3_i64).gt(col("n"))), n(Comparison::Less, 3));
        assert_eq!(said(col("n").is_null()).unwrap().test, Test::IsNull);
        assert_eq!(said(!col("late")).unwrap().test, Test::Compare(Comparison::Equal, Literal::Boolean(false)));
        for no_condition in [
            (col("n") + lit(1_i64)).gt(lit(3_i64)),
            col("n").gt(col("late")),
            col("n").not_eq(lit(3_i64)),
            col("n").gt(lit(ScalarValue::Int64(None))),
            col("n").gt(lit(1_i64)).or(col("late")),
        ] {
            assert_eq!(said(no_condition.clone()), None, "{no_condition}");
        }
    }
}
