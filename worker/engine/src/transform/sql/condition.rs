//! A SQL condition on single rows.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{sql_config, words};
use crate::Error;

/// A condition that says of each row alone whether it is wanted; of the same row always the same.
#[derive(Debug, Clone)]
pub struct RowCondition {
    text: String,
    expression: Arc<dyn PhysicalExpr>,
}

impl RowCondition {
    /// Plans a condition over rows of `schema`, as it would stand behind WHERE. `now()` in it is `now`, however often and
    /// whenever it is asked.
    ///
    /// # Errors
    /// `TransformInvalid`: it is no condition, or names a column that there is not; `TransformRefused`: it is random.
    pub fn new(text: &str, schema: &SchemaRef, now: SystemTime) -> Result<Self, Error> {
        let invalid = |what: String| Error::TransformInvalid(format!("the condition `{text}` {what}"));
        let said = |error: &datafusion::common::DataFusionError| match words::planning(error, schema) {
            Error::TransformInvalid(words) => {
                invalid(format!("cannot be used: {}", words.trim_start_matches("transform.sql: ")))
            }
            other => other,
        };
        let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
            let expr = parser.parse_expr()?;
            Ok((expr, parser.peek_token().token))
        });
        let (expr, rest) = parsed.map_err(|error| invalid(format!("is not valid SQL: {error}")))?;
        if rest != Token::EOF {
            return Err(invalid(format!("goes on after its end with `{rest}`; write what would stand behind WHERE")));
        }
        let columns = DFSchema::try_from(Arc::clone(schema)).map_err(|error| said(&error))?;
        let mut state = SessionContext::new_with_config(sql_config()).state();
        let start = chrono::DateTime::<chrono::Utc>::from(now);
        state.execution_props_mut().query_execution_start_time = Some(start);
        let expr = state
            .create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, &columns)
            .map_err(|error| said(&error))?;
        if expr.is_volatile() {
            let message = format!(
                "the condition `{text}` has another value each time it is asked; leave random() and the like out"
            );
            return Err(Error::TransformRefused(message));
        }
        let context = SimplifyContext::default()
            .with_schema(Arc::new(columns.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(Some(start));
        let simplifier = ExprSimplifier::new(context);
        let simplified = simplifier.coerce(expr, &columns).and_then(|expr| simplifier.simplify(expr));
        let physical = simplified.and_then(|expr| state.create_physical_expr(expr, &columns));
        let expression = physical.map_err(|error| said(&error))?;
        match expression.data_type(schema).map_err(|error| said(&error))? {
            DataType::Boolean | DataType::Null => Ok(Self { text: text.to_owned(), expression }),
            other => Err(invalid(format!("is a value of type {other}, not true or false"))),
        }
    }

    /// For each row whether it meets the condition; one of which that is not known does not.
    ///
    /// # Errors
    /// `TransformFailed`: it cannot be said of a row, such as a division by zero.
    pub fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let failed = |what: String| Error::TransformFailed(format!("the condition `{}`: {what}", self.text));
        let value = self.expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        let value = value.map_err(|error| failed(error.strip_backtrace()))?;
        if value.data_type() == &DataType::Null {
            return Ok(BooleanArray::from(vec![false; batch.num_rows()]));
        }
        let holds = value.as_boolean_opt().ok_or_else(|| failed("it is not true or false".to_owned()))?;
        Ok(if holds.null_count() == 0 { holds.clone() } else { prep_null_mask_filter(holds) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema, TimeUnit};

    use super::*;

    fn rows() -> RecordBatch {
        let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![
            Field::new("code", DataType::Utf8, true),
            Field::new("line", DataType::Int64, true),
            Field::new("landed_at", at, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringArray::from(vec![Some("type.int"), None, Some("csv.quote")])),
                Arc::new(Int64Array::from(vec![1, 2, 3])),
                Arc::new(TimestampMicrosecondArray::from(vec![0, 50_000_000, 100_000_000]).with_timezone("UTC")),
            ],
        )
        .unwrap()
    }

    fn holds(text: &str) -> Result<Vec<bool>, Error> {
        let batch = rows();
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let condition = RowCondition::new(text, &batch.schema(), now)?;
        Ok(condition.holds(&batch)?.iter().map(|value| value.unwrap()).collect())
    }

    #[test]
    fn a_condition_says_of_each_row_whether_it_is_wanted() {
        assert_eq!(holds("code = 'type.int' OR line > 2").unwrap(), [true, false, true]);
        assert_eq!(holds("code LIKE 'csv.%'").unwrap(), [false, false, true]);
        assert_eq!(holds("NULL").unwrap(), [false, false, false]);
        assert_eq!(holds("line IN (1, 2)").unwrap(), [true, true, false]);
    }

    #[test]
    fn now_is_the_moment_that_was_said() {
        assert_eq!(holds("landed_at > now() - interval '60 seconds'").unwrap(), [false, true, true]);
    }

    #[test]
    fn what_is_no_condition_is_refused_in_words() {
        for (text, part) in [
            ("cod = 'x'", "no column `cod`; did you mean `code`?"),
            ("code", "is a value of type Utf8"),
            ("line = 1; DROP TABLE x", "goes on after its end with `;`"),
            ("line = 1 ORDER BY line", "goes on after its end with `ORDER`"),
            ("line =", "is not valid SQL"),
            ("random() > 0.5", "another value each time"),
            ("line IN (SELECT 1)", "the condition `line IN (SELECT 1)`"),
        ] {
            let error = holds(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
