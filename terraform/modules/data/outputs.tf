output "database_arn" {
  description = "ARN of PostgreSQL, for a replica in another region."
  value       = aws_db_instance.this.arn
}

output "database_identifier" {
  description = "Name of PostgreSQL in CloudWatch."
  value       = aws_db_instance.this.identifier
}

output "database_host" {
  description = "Host name of PostgreSQL."
  value       = aws_db_instance.this.address
}

output "environment" {
  description = "Addresses for the tasks, without a password: asyncpg reads that from PGPASSWORD."
  value = merge(
    { DATABASE_URL = "postgresql+asyncpg://${local.database}@${aws_db_instance.this.address}:5432/${local.database}?ssl=require" },
    var.active ? { REDIS_URL = "rediss://${aws_elasticache_replication_group.this[0].primary_endpoint_address}:6379" } : {},
  )
}

output "secret_keys" {
  description = "Keys of the secret that the environment needs beside it."
  value       = ["PGPASSWORD"]
}

output "cache_id" {
  description = "Name of the Valkey node in CloudWatch; null when there is none."
  value       = var.active ? "${var.name}-001" : null
}

output "database" {
  description = "How PostgreSQL is set, for tests."
  value = {
    public      = aws_db_instance.this.publicly_accessible
    encrypted   = aws_db_instance.this.storage_encrypted
    deletable   = !aws_db_instance.this.deletion_protection
    backup_days = aws_db_instance.this.backup_retention_period
    forces_tls  = contains([for it in aws_db_parameter_group.this.parameter : "${it.name}=${it.value}"], "rds.force_ssl=1")
    replica     = local.is_replica
  }
}

output "cache" {
  description = "How Valkey is set, for tests; null when there is none."
  value       = one([for it in aws_elasticache_replication_group.this : { at_rest = tobool(it.at_rest_encryption_enabled), in_transit = it.transit_encryption_enabled }])
}
