# One region, whole: what each environment is, by other figures.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  active            = var.mode == "active"
  metrics_namespace = var.name
  secret_keys = concat(
    ["TWILIO_AUTH_TOKEN", "GEMINI_API_KEY", "API_KEYS", "STREAM_TOKEN_SECRET"],
    module.data.secret_keys,
    var.temporal == "cloud" ? ["TEMPORAL_API_KEY"] : [],
    var.temporal == "none" ? [] : ["TEMPORAL_CODEC_KEY"],
  )
  # A copy of the images has the same name in this region's registry.
  repository_arn = one(module.delivery[*].repository_arn) != null ? module.delivery[0].repository_arn : "arn:aws:ecr:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:repository/${var.name}"
}

module "network" {
  source             = "../network"
  name               = var.name
  cidr               = var.cidr
  availability_zones = var.availability_zones
  nat_gateway        = var.nat_gateway
  temporal           = var.temporal
}

module "secrets" {
  source        = "../secrets"
  name          = var.name
  replicate_to  = var.secret_replicas
  is_copy       = var.secret_is_copy
  keys          = toset(local.secret_keys)
  recovery_days = var.protect_data ? 30 : 0
}

module "data" {
  source                     = "../data"
  name                       = var.name
  subnet_ids                 = module.network.data_subnet_ids
  database_security_group_id = module.network.security_group_ids["database"]
  cache_security_group_id    = module.network.security_group_ids["cache"]
  active                     = local.active
  replica_of                 = local.active ? null : var.database_replica_of
  database_class             = var.database.class
  database_storage_gb        = var.database.storage_gb
  database_multi_az          = var.database.multi_az
  database_password          = var.database_password
  database_password_version  = var.database_password_version
  backup_days                = var.database.backup_days
  protect_data               = var.protect_data
  cache_class                = var.cache_class
}

module "edge" {
  source               = "../edge"
  name                 = var.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.public_subnet_ids
  security_group_id    = module.network.security_group_ids["alb"]
  zone_id              = var.zone_id
  host_name            = var.host_name
  longest_call_seconds = var.longest_call_seconds
  access_logs_bucket   = var.access_logs_bucket
  protect              = var.protect_data
}

module "temporal" {
  source             = "../temporal"
  name               = var.name
  mode               = var.temporal
  active             = local.active
  cloud              = var.temporal_cloud
  server_image       = var.temporal_images.server
  admin_image        = var.temporal_images.admin
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.task_subnet_ids
  public_ip          = !var.nat_gateway
  security_group_id  = lookup(module.network.security_group_ids, "temporal", null)
  cluster_arn        = module.ecs.cluster_arn
  execution_role_arn = module.ecs.execution_role_arn
  database_host      = module.data.database_host
  password_from      = module.secrets.value_from["PGPASSWORD"]
  log_group          = module.observability.log_groups["temporal"].name
}

module "ecs" {
  source         = "../ecs"
  name           = var.name
  active         = local.active
  image          = var.image
  repository_arn = local.repository_arn
  environment = merge(
    var.settings,
    { ENVIRONMENT = "production", BASE_URL = module.edge.base_url, DB_POOL_SIZE = tostring(var.database_pool) },
    module.data.environment,
    module.temporal.environment,
  )
  secrets            = module.secrets.value_from
  secret_arn         = module.secrets.arn
  log_groups         = module.observability.log_groups
  subnet_ids         = module.network.task_subnet_ids
  public_ip          = !var.nat_gateway
  security_group_ids = module.network.security_group_ids
  target_group_arn   = module.edge.target_group_arn
  size = {
    app     = { cpu = var.app.cpu, memory = var.app.memory }
    worker  = { cpu = var.worker.cpu, memory = var.worker.memory }
    migrate = { cpu = 256, memory = 512 }
  }
  app_tasks         = { min = var.app.min, max = var.app.max }
  worker_tasks      = var.temporal == "none" ? 0 : var.worker.tasks
  worker_on_spot    = var.worker.spot
  calls_per_task    = var.app.calls
  occupied_percent  = var.occupied_percent
  metrics_namespace = local.metrics_namespace
}

module "delivery" {
  source                 = "../delivery"
  count                  = var.secret_is_copy ? 0 : 1
  name                   = var.name
  replicate_to           = var.secret_replicas
  github                 = var.github
  github_provider_exists = var.github_provider_exists
  cluster_arn            = module.ecs.cluster_arn
  role_arns              = module.ecs.role_arns
}

module "observability" {
  source              = "../observability"
  name                = var.name
  active              = local.active
  log_days            = var.log_days
  alarm_emails        = var.alarm_emails
  metrics_namespace   = local.metrics_namespace
  cluster_name        = var.name
  app_tasks_min       = var.app.min
  load_balancer       = { balancer = module.edge.load_balancer_suffix, target_group = module.edge.target_group_suffix }
  database_identifier = module.data.database_identifier
  database_is_replica = !local.active
  cache_id            = module.data.cache_id
}
