//! A SELECT over tables of a catalog, for reading and not for landing.

use datafusion::execution::SessionStateBuilder;

use crate::Error;
use crate::transform::{self, Input, Prepared, TransformOptions};

/// The tables that a SELECT names, each once: `namespace.table`, as it is written.
///
/// # Errors
/// `TransformInvalid` for what is no SQL, with the place; `TransformRefused` for what is no SELECT.
pub fn tables(sql: &str) -> Result<Vec<String>, Error> {
    let statement = transform::one_select(sql).map_err(worded)?;
    let state = SessionStateBuilder::new().with_config(transform::sql_config()).build();
    let references = state
        .resolve_table_references(&statement)
        .map_err(|error| worded(Error::TransformInvalid(format!("transform.sql: {}", error.strip_backtrace()))))?;
    let mut tables: Vec<String> = references.iter().map(ToString::to_string).collect();
    tables.sort();
    tables.dedup();
    Ok(tables)
}

/// Plans a SELECT over `inputs`, which are named as [`tables`] names them.
///
/// # Errors
/// As [`transform::prepare_inputs`].
pub async fn prepare(sql: &str, inputs: Vec<Input>, options: TransformOptions) -> Result<Prepared, Error> {
    let transform = moulin_core::Transform::Sql(sql.to_owned());
    transform::prepare_inputs(Some(&transform), inputs, options).await.map_err(worded)
}

/// The same error in the words of a query: it is no job's transform.
fn worded(error: Error) -> Error {
    let text = |text: String| {
        text.replace("transform.sql", "the query")
            .replace("SELECT over the job's inputs", "SELECT over tables of the catalog")
            .replace("; where rows land is the job's target", "")
    };
    match error {
        Error::TransformInvalid(message) => Error::TransformInvalid(text(message)),
        Error::TransformRefused(message) => Error::TransformRefused(text(message)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_once_and_steps_of_the_query_are_none() {
        let sql = "WITH late AS (SELECT * FROM bronze.flights WHERE d > 15) \
                   SELECT * FROM late JOIN bronze.flights USING (id) JOIN a.b.airports USING (id)";
        assert_eq!(tables(sql).unwrap(), ["a.b.airports", "bronze.flights"]);
        assert_eq!(tables("SELECT Origin FROM Bronze.Flights").unwrap(), ["Bronze.Flights"]);
    }

    #[test]
    fn what_is_no_select_is_refused_in_the_words_of_a_query() {
        let error = tables("DROP TABLE bronze.flights").unwrap_err().to_string();
        assert_eq!(error, "the query may only be a SELECT over tables of the catalog, and this is DROP");
        let error = tables("SELECT id FRM bronze.flights").unwrap_err().to_string();
        assert!(error.starts_with("the query is not valid SQL") && error.contains("Column: "), "{error}");
    }
}
