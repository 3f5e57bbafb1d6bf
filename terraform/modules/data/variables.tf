variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a route to the internet."
  type        = list(string)
}

variable "database_security_group_id" {
  description = "Security group of PostgreSQL."
  type        = string
}

variable "cache_security_group_id" {
  description = "Security group of Valkey."
  type        = string
}

variable "active" {
  description = "Whether this region takes calls; otherwise there is no cache."
  type        = bool
}

variable "replica_of" {
  description = "ARN of the database in another region that this one follows; null: it takes writes. Taking the ARN away promotes the database."
  type        = string
}

variable "database_class" {
  description = "Instance class of PostgreSQL."
  type        = string
}

variable "database_storage_gb" {
  description = "Storage of PostgreSQL in GB; it grows by itself up to five times that."
  type        = number
}

variable "database_multi_az" {
  description = "Whether PostgreSQL has a standby in a second zone; doubles its price."
  type        = bool
}

variable "database_password" {
  description = "Password of PostgreSQL's user. Ephemeral: neither in the state nor in a plan."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "database_password_version" {
  description = "Raised to give PostgreSQL a new password."
  type        = number
}

variable "backup_days" {
  description = "Days that automatic backups are kept; within them any second can be restored."
  type        = number
}

variable "protect_data" {
  description = "Whether the database cannot be deleted, and leaves a snapshot when it is."
  type        = bool
}

variable "cache_class" {
  description = "Node type of Valkey."
  type        = string
}
