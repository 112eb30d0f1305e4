"""What Airflow finds at the entry point `apache_airflow_provider`."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Everything this package adds to Airflow, as data: nothing else is imported to know it."""
    return {
        "package-name": "airflow-provider-moulin",
        "name": "Moulin",
        "description": "Lands files in Apache Iceberg tables through Moulin workers, each row exactly once.",
        "integrations": [{"integration-name": "Moulin", "tags": ["service"]}],
        "hooks": [{"integration-name": "Moulin", "python-modules": ["moulin_provider.hooks.moulin"]}],
        "operators": [{"integration-name": "Moulin", "python-modules": ["moulin_provider.operators.moulin"]}],
        "sensors": [{"integration-name": "Moulin", "python-modules": ["moulin_provider.sensors.moulin"]}],
        "triggers": [
            {
                "integration-name": "Moulin",
                "python-modules": [
                    "moulin_provider.triggers.moulin",
                    "moulin_provider.triggers.files",
                    "moulin_provider.triggers.query",
                    "moulin_provider.triggers.room",
                ],
            }
        ],
        "task-decorators": [
            {"name": "moulin", "class-name": "moulin_provider.decorators.moulin.moulin_task"},
            {"name": "moulin_sql", "class-name": "moulin_provider.decorators.moulin_sql.moulin_sql_task"},
        ],
        "asset-uris": [
            {
                "schemes": ["iceberg"],
                "handler": "moulin_provider.assets.sanitize_uri",
                "factory": "moulin_provider.assets.iceberg_asset",
                "to_openlineage_converter": "moulin_provider.assets.convert_asset_to_openlineage",
            }
        ],
        "extra-links": ["moulin_provider.links.moulin.MoulinReceiptLink"],
        "connection-types": [
            {
                "connection-type": "moulin",
                "hook-name": "Moulin worker",
                "hook-class-name": "moulin_provider.hooks.moulin.MoulinHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login"],
                    "relabeling": {"host": "Worker host(s)", "password": "Token"},
                    "placeholders": {
                        "host": "localhost, or several workers of one store: a,b:7071",
                        "port": "7070",
                        "password": "what the worker's auth.tokens asks for; else empty",
                    },
                },
                "conn-fields": {
                    "tls": {
                        "label": "TLS",
                        "description": "The worker serves TLS ([tls] in its configuration). "
                        "A certificate below says so too.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "ca_certificate": {
                        "label": "CA certificate",
                        "description": "Path of a PEM file, or its text: who signed the worker's certificate. "
                        "Empty: the authorities of the system.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "client_certificate": {
                        "label": "Client certificate",
                        "description": "For a worker that asks for one (tls.client_ca), with the private key: "
                        "path of a PEM file, or its text.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "private_key": {
                        "label": "Private key",
                        "description": "Of the client certificate: path of a PEM file, or its text.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "server_name": {
                        "label": "Server name",
                        "description": "The name in the worker's certificate, when it is not the one in the address.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "timeout": {
                        "label": "Call timeout (seconds)",
                        "description": "How long one call may take. Waiting for a job has no such limit.",
                        "schema": {"type": ["number", "null"], "default": 30},
                    },
                    "reconnect": {
                        "label": "Reconnect (seconds)",
                        "description": "How long a job is followed although its worker does not answer.",
                        "schema": {"type": ["number", "null"], "default": 600},
                    },
                },
            }
        ],
    }
