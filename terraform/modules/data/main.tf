# PostgreSQL keeps the records, Valkey what is live. Both are in subnets without a way out.

locals {
  database    = "voice_ai"
  is_replica  = var.replica_of != null
  crossregion = local.is_replica
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres18"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# A copy in another region is encrypted with that region's key.
data "aws_kms_alias" "rds" {
  count = local.crossregion ? 1 : 0
  name  = "alias/aws/rds"
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  instance_class = var.database_class

  replicate_source_db = var.replica_of
  kms_key_id          = one(data.aws_kms_alias.rds[*].target_key_arn)
  engine              = local.is_replica ? null : "postgres"
  engine_version      = local.is_replica ? null : "18"
  db_name             = local.is_replica ? null : local.database
  username            = local.is_replica ? null : local.database
  password_wo         = local.is_replica ? null : var.database_password
  password_wo_version = local.is_replica ? null : var.database_password_version
  allocated_storage   = local.is_replica ? null : var.database_storage_gb

  max_allocated_storage  = 5 * var.database_storage_gb
  storage_type           = "gp3"
  storage_encrypted      = true
  multi_az               = var.database_multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [var.database_security_group_id]
  publicly_accessible    = false
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period    = var.backup_days
  copy_tags_to_snapshot      = true
  deletion_protection        = var.protect_data
  skip_final_snapshot        = !var.protect_data
  final_snapshot_identifier  = var.protect_data ? "${var.name}-final" : null
  auto_minor_version_upgrade = true
  # UTC, when the fewest calls are expected in America.
  backup_window      = "08:00-08:30"
  maintenance_window = "sun:09:00-sun:10:00"
}

resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

# One node: what is in it may be lost (who carries which call, which stream tokens were used).
resource "aws_elasticache_replication_group" "this" {
  count                      = var.active ? 1 : 0
  replication_group_id       = var.name
  description                = "Live calls of ${var.name}"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.cache_class
  num_cache_clusters         = 1
  automatic_failover_enabled = false
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [var.cache_security_group_id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auto_minor_version_upgrade = true
  maintenance_window         = "sun:10:00-sun:11:00"
}
