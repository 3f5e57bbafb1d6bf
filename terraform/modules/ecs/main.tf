# The cluster, and what each kind of task is: `app` carries calls, `worker` runs workflows,
# `migrate` is a job before a deploy.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  region  = data.aws_region.current.name
  account = data.aws_caller_identity.current.account_id
  # ECS waits as long between SIGTERM and SIGKILL; Fargate allows no more.
  stop_timeout = 120
  commands = {
    app     = ["serve", "--host", "0.0.0.0"]
    worker  = ["worker"]
    migrate = ["migrate"]
  }
  environment = merge(var.environment, {
    PORT                 = "8000"
    INSTANCE_URL         = "auto"
    MAX_CONCURRENT_CALLS = tostring(var.calls_per_task)
    CLOUDWATCH_NAMESPACE = var.metrics_namespace
    # The root file system is read-only; /data is a volume.
    TMPDIR = "/data"
  })
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  # $0.30 a metric and month for figures that the load balancer and the app tell already.
  setting {
    name  = "containerInsights"
    value = "disabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.commands
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size[each.key].cpu
  memory                   = var.size[each.key].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn
  # Older revisions stay, to roll back to.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  volume {
    name = "data"
  }

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = var.image
    command                = each.value
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    stopTimeout            = local.stop_timeout
    linuxParameters        = { initProcessEnabled = true }
    portMappings           = each.key == "app" ? [{ containerPort = 8000, protocol = "tcp" }] : []
    mountPoints            = [{ sourceVolume = "data", containerPath = "/data", readOnly = false }]
    environment            = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]
    secrets                = [for name in sort(keys(var.secrets)) : { name = name, valueFrom = var.secrets[name] }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = var.log_groups[each.key].name
        awslogs-region        = local.region
        awslogs-stream-prefix = each.key
        # A full log buffer drops lines rather than block a process with calls.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }])
}

resource "aws_ecs_service" "app" {
  name                               = "app"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["app"].arn
  desired_count                      = var.active ? var.app_tasks.min : 0
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  propagate_tags                     = "SERVICE"
  enable_execute_command             = false

  # Never Spot: it takes a task away after two minutes, and its calls with it.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_ids["app"]]
    assign_public_ip = var.public_ip
  }

  load_balancer {
    target_group_arn = var.target_group_arn
    container_name   = "app"
    container_port   = 8000
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]

  lifecycle {
    # scripts/deploy.sh moves the revision; autoscaling, and failover.sh, the number of tasks.
    ignore_changes = [task_definition, desired_count]
  }
}

resource "aws_ecs_service" "worker" {
  name                               = "worker"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["worker"].arn
  desired_count                      = var.active ? var.worker_tasks : 0
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  propagate_tags                     = "SERVICE"
  enable_execute_command             = false

  capacity_provider_strategy {
    capacity_provider = var.worker_on_spot ? "FARGATE_SPOT" : "FARGATE"
    weight            = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_ids["worker"]]
    assign_public_ip = var.public_ip
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]

  lifecycle {
    ignore_changes = [task_definition, desired_count]
  }
}
