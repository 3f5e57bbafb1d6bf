variable "host_name" {
  description = "Host name that Twilio and API clients reach this region by, such as voice.example.com."
  type        = string
}

variable "zone_id" {
  description = "Id of the public Route 53 zone of the host name."
  type        = string
}

variable "image" {
  description = "Image of the tasks by digest, as the first push told it; scripts/deploy.sh sets later ones."
  type        = string
}

variable "settings" {
  description = "Further settings of the tasks (docs/settings.md), nothing secret. Needed: TWILIO_ACCOUNT_SID, TWILIO_PHONE_NUMBER, ALLOWED_DESTINATIONS."
  type        = map(string)
}

variable "temporal" {
  description = "cloud: Temporal Cloud. self_hosted: a server on Fargate. none: each app task keeps the life of its calls itself."
  type        = string
  default     = "cloud"
}

variable "temporal_cloud" {
  description = "Temporal Cloud: address (host:7233) and namespace; needed when temporal is cloud."
  type        = object({ address = string, namespace = string })
  default     = null
}

variable "database_password" {
  description = "Set by scripts/apply.sh from the secret. Ephemeral: neither in the state nor in a plan."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "database_password_version" {
  description = "Raised by one to give PostgreSQL the password that the secret has now."
  type        = number
  default     = 1
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to; each has to confirm once."
  type        = set(string)
  default     = []
}

variable "mode" {
  description = "active: this region takes calls. pilot_light: it waits. scripts/failover.sh and scripts/make_standby.sh change it."
  type        = string
  default     = "active"
}

variable "database_replica_of" {
  description = "ARN of the database in the other region (its output database_arn) that this one follows while the mode is pilot_light."
  type        = string
  default     = null
}

variable "github_repository" {
  description = "GitHub repository (owner/name) whose environment `production` may deploy; null: none."
  type        = string
  default     = null
}

variable "github_provider_exists" {
  description = "Whether this AWS account trusts GitHub's tokens already; an account has one such provider."
  type        = bool
  default     = false
}

variable "app" {
  description = "Tasks that carry calls: CPU units, MB of memory, fewest, most, and calls of each at once (MAX_CONCURRENT_CALLS)."
  type        = object({ cpu = number, memory = number, min = number, max = number, calls = number })
  default     = { cpu = 512, memory = 1024, min = 2, max = 6, calls = 25 }
}

variable "worker" {
  description = "Tasks that run workflows: CPU units, MB of memory, how many, and whether on Fargate Spot."
  type        = object({ cpu = number, memory = number, tasks = number, spot = bool })
  default     = { cpu = 256, memory = 512, tasks = 2, spot = true }
}

variable "database" {
  description = "PostgreSQL: instance class, GB of storage, a standby in a second zone or not, days of backups."
  type        = object({ class = string, storage_gb = number, multi_az = bool, backup_days = number })
  default     = { class = "db.t4g.micro", storage_gb = 20, multi_az = false, backup_days = 7 }
}

variable "cache_class" {
  description = "Node type of Valkey."
  type        = string
  default     = "cache.t4g.micro"
}

variable "nat_gateway" {
  description = "Whether tasks run in private subnets behind a NAT gateway, instead of in public subnets behind closed security groups."
  type        = bool
  default     = false
}

variable "access_logs_bucket" {
  description = "S3 bucket for the load balancer's access logs; null: none."
  type        = string
  default     = null
}
