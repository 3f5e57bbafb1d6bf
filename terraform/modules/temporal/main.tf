# Temporal: Temporal Cloud by default, which is only an address here. A self-hosted server is one
# Fargate task with all four of its services, and jobs for its schema and namespace; its port is open
# to app and worker alone, and its UI is not there at all.

locals {
  self_hosted = var.mode == "self_hosted"
  count       = local.self_hosted ? 1 : 0
  domain      = "${var.name}.internal"
  server      = { DB = "postgres12_pgx", DB_PORT = "5432", POSTGRES_SEEDS = var.database_host, POSTGRES_USER = "voice_ai" }
  address     = "temporal.${local.domain}:7233"
  jobs = {
    schema    = local.schema
    namespace = "temporal --address ${local.address} operator namespace describe --namespace default || temporal --address ${local.address} operator namespace create --namespace default --retention 72h"
  }
  schema = join(" && ", flatten([
    for database, schema in { temporal = "temporal", temporal_visibility = "visibility" } : [
      for step in [
        "create-database",
        "setup-schema --version 0.0",
        "update-schema --schema-dir /etc/temporal/schema/postgresql/v12/${schema}/versioned",
      ] : "temporal-sql-tool --plugin postgres12_pgx --endpoint ${var.database_host} --port 5432 --user voice_ai --tls --tls-disable-host-verification --database ${database} ${step}"
    ]
  ]))
  logs = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = var.log_group
      awslogs-region        = data.aws_region.current.name
      awslogs-stream-prefix = "temporal"
      mode                  = "non-blocking"
    }
  }
}

data "aws_region" "current" {}

resource "aws_service_discovery_private_dns_namespace" "this" {
  count = local.count
  name  = local.domain
  vpc   = var.vpc_id
}

resource "aws_service_discovery_service" "temporal" {
  count = local.count
  name  = "temporal"

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.this[0].id
    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

resource "aws_ecs_task_definition" "server" {
  count                    = local.count
  family                   = "${var.name}-temporal"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = var.execution_role_arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([{
    name         = "temporal"
    image        = var.server_image
    essential    = true
    portMappings = [{ containerPort = 7233, protocol = "tcp" }]
    environment = [
      for name, value in merge(local.server, {
        DBNAME                = "temporal"
        VISIBILITY_DBNAME     = "temporal_visibility"
        SQL_TLS_ENABLED       = "true"
        SQL_HOST_VERIFICATION = "false"
        BIND_ON_IP            = "0.0.0.0"
        NUM_HISTORY_SHARDS    = "512"
        SERVICES              = "frontend:history:matching:worker"
      }) : { name = name, value = value }
    ]
    secrets          = [{ name = "POSTGRES_PWD", valueFrom = var.password_from }]
    logConfiguration = local.logs
  }])
}

# Run once by scripts/setup_temporal.sh, each again after an update of the server.
resource "aws_ecs_task_definition" "job" {
  for_each                 = local.self_hosted ? local.jobs : {}
  family                   = "${var.name}-temporal-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = var.execution_role_arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([{
    name             = each.key
    image            = var.admin_image
    essential        = true
    entryPoint       = ["sh", "-euc"]
    command          = [each.value]
    secrets          = [{ name = "SQL_PASSWORD", valueFrom = var.password_from }]
    logConfiguration = local.logs
  }])
}

# One task: history shards would have to find each other otherwise. While it is replaced, calls go
# on, and what their workflows should do waits.
resource "aws_ecs_service" "temporal" {
  count                              = local.count
  name                               = "temporal"
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.server[0].arn
  desired_count                      = var.active ? 1 : 0
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  enable_execute_command             = false

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = var.public_ip
  }

  service_registries {
    registry_arn = aws_service_discovery_service.temporal[0].arn
  }
}
