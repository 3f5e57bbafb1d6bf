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
