"""The settings of result stores that few programs use; accepted, so that none must drop them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.config.result_settings import ResultSettings
from umbel.config.task_settings import Seconds


class ResultStoreSettings(ResultSettings, frozen=True, kw_only=True):
    """Settings of the less common result stores."""

    # --- Other result stores ---

    mongodb_backend_settings: Mapping[str, Any] | None = None
    """Where and how MongoDB keeps results: host, port, database, collections, user, options."""
    couchbase_backend_settings: Mapping[str, Any] | None = None
    """Where Couchbase keeps results: host, port, bucket, username, password."""
    arangodb_backend_settings: Mapping[str, Any] | None = None
    """Where ArangoDB keeps results: host, port, database, collection, username, password."""
    cassandra_servers: Sequence[str] | None = None
    """Hosts of Cassandra."""
    cassandra_port: int | None = None
    """Port of Cassandra; None is 9042."""
    cassandra_keyspace: str | None = None
    """Keyspace in Cassandra."""
    cassandra_table: str | None = None
    """Table in Cassandra."""
    cassandra_read_consistency: str | None = None
    """Consistency level of reads."""
    cassandra_write_consistency: str | None = None
    """Consistency level of writes."""
    cassandra_entry_ttl: Seconds | None = None
    """Seconds for which Cassandra keeps a result."""
    cassandra_bundle_path: str | None = None
    """Path of the bundle that opens an Astra database."""
    cassandra_auth_provider: str | None = None
    """Name of the authentication class."""
    cassandra_auth_kwargs: Mapping[str, Any] | None = None
    """Arguments of the authentication class."""
    cassandra_options: Mapping[str, Any] = {}
    """Options of the Cassandra cluster object."""
    s3_access_key_id: str | None = None
    """Access key for S3."""
    s3_secret_access_key: str | None = None
    """Secret key for S3."""
    s3_bucket: str | None = None
    """Bucket in S3."""
    s3_base_path: str | None = None
    """Prefix of the keys in S3."""
    s3_endpoint_url: str | None = None
    """Endpoint of a service that speaks S3."""
    s3_region: str | None = None
    """Region of S3."""
    azureblockblob_container_name: str = "celery"
    """Container in Azure."""
    azureblockblob_base_path: str = ""
    """Prefix of the blobs in Azure."""
    azureblockblob_retry_initial_backoff_sec: int = 2
    """Seconds before the first retry."""
    azureblockblob_retry_increment_base: int = 2
    """Seconds added by each retry."""
    azureblockblob_retry_max_attempts: int = 3
    """How often to try."""
    azureblockblob_connection_timeout: Seconds = 20.0
    """Seconds to wait for a connection to Azure."""
    azureblockblob_read_timeout: Seconds = 120.0
    """Seconds to wait for an answer of Azure."""
    gcs_bucket: str | None = None
    """Bucket in Google Cloud Storage."""
    gcs_project: str | None = None
    """Project in Google Cloud."""
    gcs_base_path: str = ""
    """Prefix of the objects in Google Cloud Storage."""
    gcs_ttl: Seconds = 0.0
    """Seconds for which Google Cloud Storage keeps a result; 0: as ``result_expires``."""
    gcs_threadpool_maxsize: int = 10
    """Threads that talk to Google Cloud Storage."""
    firestore_project: str | None = None
    """Project whose Firestore counts chords; None takes ``gcs_project``."""
    dynamodb_endpoint_url: str | None = None
    """Endpoint of a local DynamoDB."""
    elasticsearch_retry_on_timeout: bool | None = None
    """Ask again when Elasticsearch did not answer in time."""
    elasticsearch_max_retries: int | None = None
    """How often to ask Elasticsearch again."""
    elasticsearch_timeout: Seconds | None = None
    """Seconds to wait for Elasticsearch."""
    elasticsearch_save_meta_as_text: bool = True
    """Store results as text instead of as a document."""
    cosmosdbsql_database_name: str = "celerydb"
    """Database in Cosmos DB."""
    cosmosdbsql_collection_name: str = "celerycol"
    """Collection in Cosmos DB."""
    cosmosdbsql_consistency_level: str = "Session"
    """Consistency level in Cosmos DB."""
    cosmosdbsql_max_retry_attempts: int = 9
    """How often to try again."""
    cosmosdbsql_max_retry_wait_time: Seconds = 30.0
    """Longest time to go on trying, in seconds."""
