"""What this package adds to Airflow's own processes."""
