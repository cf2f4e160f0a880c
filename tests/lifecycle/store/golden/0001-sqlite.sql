BEGIN TRANSACTION;
CREATE TABLE roost_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT roost_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "roost_alembic_version" VALUES('0001');
CREATE TABLE roost_deployments (
	id INTEGER NOT NULL, 
	endpoint_id INTEGER NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	collection VARCHAR(255) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	model_name VARCHAR(100) NOT NULL, 
	model_version INTEGER NOT NULL, 
	model_files TEXT NOT NULL, 
	fingerprint VARCHAR(80) NOT NULL, 
	dim INTEGER NOT NULL, 
	index_params TEXT NOT NULL, 
	search_params TEXT NOT NULL, 
	n_records BIGINT NOT NULL, 
	seal VARCHAR(80), 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(endpoint_id) REFERENCES roost_endpoints (id), 
	UNIQUE (collection), 
	UNIQUE (endpoint_id, name)
);
INSERT INTO "roost_deployments" VALUES(1,1,'digits-v1','image_search__digits_v1','serving','digits',1,'{"path": "models/digits/72e90509899d43c1b2ce4e1e5ba1149d", "checksum": "b4b29c12c772269259b5867f6d19009e23a3e2fce25b5f22a59fca62eafd789f", "trusted": []}','sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268',4,'{"M":16,"efConstruction":200,"index_type":"HNSW"}','{}',59,'sha256:8ba02c5a11c4357f3abf9475ee1e3078e346231acc7983024ceb808dc5cb0bc6','2026-11-21T11:54:53.678603+00:00');
INSERT INTO "roost_deployments" VALUES(2,1,'digits-v2','image_search__digits_v2','ready','digits',2,'{"path": "models/digits/4f3e1c8e0626451cb9366cf5a6d9f8f5", "checksum": "af572b33fb71a76cd543fb07560d6b9d6d4e86fc6b0efbcc056860441c7b8309", "trusted": []}','sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65',8,'{"M":16,"efConstruction":200,"index_type":"HNSW"}','{}',60,'sha256:f338c4064847c169600efff7f4d984a7e5f7b1a75d06c3e74cc784368dc954ec','2026-11-21T11:54:53.773335+00:00');
INSERT INTO "roost_deployments" VALUES(3,1,'spare','image_search__spare','retired','digits',2,'{"path": "models/digits/4f3e1c8e0626451cb9366cf5a6d9f8f5", "checksum": "af572b33fb71a76cd543fb07560d6b9d6d4e86fc6b0efbcc056860441c7b8309", "trusted": []}','sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65',8,'{"M":16,"efConstruction":200,"index_type":"HNSW"}','{}',20,'sha256:01753497992113293b0d30c432caed4c2d7b2c4f0cda5e2e469d704d7d9281f9','2026-11-21T11:54:53.865603+00:00');
INSERT INTO "roost_deployments" VALUES(4,1,'half','image_search__half','building','digits',2,'{"path": "models/digits/4f3e1c8e0626451cb9366cf5a6d9f8f5", "checksum": "af572b33fb71a76cd543fb07560d6b9d6d4e86fc6b0efbcc056860441c7b8309", "trusted": []}','sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65',8,'{"M":16,"efConstruction":200,"index_type":"HNSW"}','{}',0,NULL,'2026-11-21T11:54:53.902297+00:00');
INSERT INTO "roost_deployments" VALUES(5,1,'failed','image_search__failed','failed','digits',1,'{"path": "models/digits/72e90509899d43c1b2ce4e1e5ba1149d", "checksum": "b4b29c12c772269259b5867f6d19009e23a3e2fce25b5f22a59fca62eafd789f", "trusted": []}','sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268',4,'{"M":16,"efConstruction":200,"index_type":"HNSW"}','{}',0,NULL,'2026-11-21T11:54:53.927603+00:00');
CREATE TABLE roost_endpoints (
	id INTEGER NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	identifier VARCHAR(100) NOT NULL, 
	metric VARCHAR(20) NOT NULL, 
	fields TEXT NOT NULL, 
	description TEXT NOT NULL, 
	champion_id INTEGER, 
	version INTEGER NOT NULL, 
	followed_version INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (identifier), 
	UNIQUE (name)
);
INSERT INTO "roost_endpoints" VALUES(1,'image-search','image_search','L2','[{"auto_id": false, "description": "", "is_primary": true, "name": "id", "type": 5}]','handwritten digits',1,17,13,'2026-11-21T11:54:53.668041+00:00');
INSERT INTO "roost_endpoints" VALUES(2,'empty','empty','COSINE','[{"auto_id": false, "description": "", "is_primary": true, "name": "id", "type": 5}]','',NULL,1,1,'2026-11-21T11:54:53.674980+00:00');
CREATE TABLE roost_events (
	id INTEGER NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	endpoint VARCHAR(100) NOT NULL, 
	deployment VARCHAR(100) NOT NULL, 
	query_id VARCHAR(40) NOT NULL, 
	test_id INTEGER, 
	actor VARCHAR(255), 
	latency_ms DOUBLE, 
	item TEXT, 
	value TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "roost_events" VALUES(1,'outcome','2026-11-21T11:54:53.814315+00:00','image-search','digits-v1','dc3cad47222b4a38838655a9ede7a9ea',1,NULL,NULL,NULL,'champion');
INSERT INTO "roost_events" VALUES(2,'feedback','2026-11-21T11:54:53.814358+00:00','image-search','digits-v1','dc3cad47222b4a38838655a9ede7a9ea',1,NULL,NULL,NULL,'{"13":1.0,"31":0.0,"45":1.0,"5":0.0,"59":1.0}');
INSERT INTO "roost_events" VALUES(3,'outcome','2026-11-21T11:54:53.815322+00:00','image-search','digits-v1','2a728adc1b9a481cbae2a41d91c4a6f0',1,NULL,NULL,NULL,'champion');
INSERT INTO "roost_events" VALUES(4,'feedback','2026-11-21T11:54:53.815348+00:00','image-search','digits-v1','2a728adc1b9a481cbae2a41d91c4a6f0',1,NULL,NULL,NULL,'{"17":1.0,"43":1.0,"44":1.0,"52":1.0,"53":0.0}');
INSERT INTO "roost_events" VALUES(5,'outcome','2026-11-21T11:54:53.816222+00:00','image-search','digits-v1','35ff4c246f5644f9b46274d387a97ad4',1,NULL,NULL,NULL,'challenger');
INSERT INTO "roost_events" VALUES(6,'feedback','2026-11-21T11:54:53.816244+00:00','image-search','digits-v1','35ff4c246f5644f9b46274d387a97ad4',1,NULL,NULL,NULL,'{"13":1.0,"31":0.0,"45":1.0,"5":0.0,"59":1.0}');
INSERT INTO "roost_events" VALUES(7,'outcome','2026-11-21T11:54:53.817104+00:00','image-search','digits-v1','7c25cded493942fa830d1f2c034b3557',1,NULL,NULL,NULL,'champion');
INSERT INTO "roost_events" VALUES(8,'feedback','2026-11-21T11:54:53.817124+00:00','image-search','digits-v1','7c25cded493942fa830d1f2c034b3557',1,NULL,NULL,NULL,'{"13":1.0,"23":1.0,"3":1.0,"45":1.0,"59":1.0}');
INSERT INTO "roost_events" VALUES(9,'outcome','2026-11-21T11:54:53.817819+00:00','image-search','digits-v1','cbefb87d8d134408b24d1aaa5cf61155',1,NULL,NULL,NULL,'tie');
INSERT INTO "roost_events" VALUES(10,'feedback','2026-11-21T11:54:53.817838+00:00','image-search','digits-v1','cbefb87d8d134408b24d1aaa5cf61155',1,NULL,NULL,NULL,'{"14":1.0,"24":1.0,"4":1.0,"41":1.0,"55":0.0}');
INSERT INTO "roost_events" VALUES(11,'outcome','2026-11-21T11:54:53.818551+00:00','image-search','digits-v1','81a6cb447c884921b876a7c93a7ae2a3',1,NULL,NULL,NULL,'tie');
INSERT INTO "roost_events" VALUES(12,'feedback','2026-11-21T11:54:53.818572+00:00','image-search','digits-v1','81a6cb447c884921b876a7c93a7ae2a3',1,NULL,NULL,NULL,'{"16":1.0,"26":1.0,"34":1.0,"58":1.0,"6":1.0}');
INSERT INTO "roost_events" VALUES(13,'outcome','2026-11-21T11:54:53.954550+00:00','image-search','digits-v1','7871c52e2da24596a8afa9210887e3fb',2,NULL,NULL,NULL,'tie');
INSERT INTO "roost_events" VALUES(14,'feedback','2026-11-21T11:54:53.954582+00:00','image-search','digits-v1','7871c52e2da24596a8afa9210887e3fb',2,NULL,NULL,NULL,'{"16":1.0,"26":1.0,"34":1.0,"58":1.0,"6":1.0}');
INSERT INTO "roost_events" VALUES(15,'outcome','2026-11-21T11:54:53.955749+00:00','image-search','digits-v1','e8f9451e230c41c19010e057fcb5a114',2,NULL,NULL,NULL,'tie');
INSERT INTO "roost_events" VALUES(16,'feedback','2026-11-21T11:54:53.955775+00:00','image-search','digits-v1','e8f9451e230c41c19010e057fcb5a114',2,NULL,NULL,NULL,'{"26":1.0,"48":0.0,"49":0.0,"58":1.0,"6":1.0}');
INSERT INTO "roost_events" VALUES(17,'outcome','2026-11-21T11:54:53.956748+00:00','image-search','digits-v1','7d5fbdbf5c774281969dec1c894eeadb',2,NULL,NULL,NULL,'challenger');
INSERT INTO "roost_events" VALUES(18,'feedback','2026-11-21T11:54:53.956769+00:00','image-search','digits-v1','7d5fbdbf5c774281969dec1c894eeadb',2,NULL,NULL,NULL,'{"14":1.0,"24":1.0,"4":1.0,"41":1.0,"54":0.0}');
INSERT INTO "roost_events" VALUES(19,'search','2026-11-21T11:54:53.813995+00:00','image-search','digits-v1','dc3cad47222b4a38838655a9ede7a9ea',1,NULL,4.45563399989623576402e+00,NULL,NULL);
INSERT INTO "roost_events" VALUES(20,'search','2026-11-21T11:54:53.815248+00:00','image-search','digits-v1','2a728adc1b9a481cbae2a41d91c4a6f0',1,NULL,8.75345000167726539075e-01,NULL,NULL);
INSERT INTO "roost_events" VALUES(21,'search','2026-11-21T11:54:53.816165+00:00','image-search','digits-v1','35ff4c246f5644f9b46274d387a97ad4',1,NULL,8.05059999038348905742e-01,NULL,NULL);
INSERT INTO "roost_events" VALUES(22,'search','2026-11-21T11:54:53.817050+00:00','image-search','digits-v1','7c25cded493942fa830d1f2c034b3557',1,NULL,7.9592600013711489737e-01,NULL,NULL);
INSERT INTO "roost_events" VALUES(23,'search','2026-11-21T11:54:53.817773+00:00','image-search','digits-v1','cbefb87d8d134408b24d1aaa5cf61155',1,NULL,6.38972000160720199346e-01,NULL,NULL);
INSERT INTO "roost_events" VALUES(24,'search','2026-11-21T11:54:53.818501+00:00','image-search','digits-v1','81a6cb447c884921b876a7c93a7ae2a3',1,NULL,6.52831999104819260537e-01,NULL,NULL);
INSERT INTO "roost_events" VALUES(25,'search','2026-11-21T11:54:53.954472+00:00','image-search','digits-v1','7871c52e2da24596a8afa9210887e3fb',2,NULL,1.89553400014119688421e+00,NULL,NULL);
INSERT INTO "roost_events" VALUES(26,'search','2026-11-21T11:54:53.955688+00:00','image-search','digits-v1','e8f9451e230c41c19010e057fcb5a114',2,NULL,1.08962299964332487434e+00,NULL,NULL);
INSERT INTO "roost_events" VALUES(27,'search','2026-11-21T11:54:53.956688+00:00','image-search','digits-v1','7d5fbdbf5c774281969dec1c894eeadb',2,NULL,9.0106199968431610614e-01,NULL,NULL);
CREATE TABLE roost_jobs (
	id INTEGER NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	deployment_id INTEGER NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	n_done BIGINT NOT NULL, 
	n_rejected BIGINT NOT NULL, 
	digest VARCHAR(80) NOT NULL, 
	error TEXT, 
	updated_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(deployment_id) REFERENCES roost_deployments (id)
);
INSERT INTO "roost_jobs" VALUES(1,'backfill',1,'done',60,1,'4585113e8ac9d9d6147008821dde113a2112bf2e78014264df233db6662e132a',NULL,'2026-11-21T11:54:53.732758+00:00');
INSERT INTO "roost_jobs" VALUES(2,'backfill',2,'done',60,0,'4585113e8ac9d9d6147008821dde113a2112bf2e78014264df233db6662e132a',NULL,'2026-11-21T11:54:53.791800+00:00');
INSERT INTO "roost_jobs" VALUES(3,'backfill',3,'done',20,0,'a03dce99847e55152e3f411d3365fdeca9af8ac07254f1888503e5193f1124c6',NULL,'2026-11-21T11:54:53.884514+00:00');
INSERT INTO "roost_jobs" VALUES(4,'backfill',4,'interrupted',40,0,'8c439d8893de89814b0bc6e98dee22f22423d3d6794d0389cff651da139b70a9','KeyboardInterrupt: ','2026-11-21T11:54:53.925804+00:00');
INSERT INTO "roost_jobs" VALUES(5,'backfill',5,'failed',1,1,'00a7c8145b7fce110a482df4e5bee3e1eb18c561756a8ce279569349f7b4753a','WorkspaceError: <WorkspaceError: (code=65535, message=no record could be stored: all 1 were set aside, the first, with the key 1, because the record has no content (the only reason; endpoint.rejected(''failed'') lists all))>','2026-11-21T11:54:53.942008+00:00');
CREATE TABLE roost_ledger (
	seq INTEGER NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	action VARCHAR(40) NOT NULL, 
	endpoint VARCHAR(100), 
	subject VARCHAR(255) NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	previous_hash VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "roost_ledger" VALUES(1,'2026-11-21T11:54:53.634932+00:00','ann','register',NULL,'digits/1','','{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","run_id":null,"trusted":[]}','0000000000000000000000000000000000000000000000000000000000000000','fbae12d16966cb77753c7ad6a9f0a6449eabe1293cd6e95b81986493a315a2c1');
INSERT INTO "roost_ledger" VALUES(2,'2026-11-21T11:54:53.666257+00:00','ann','register',NULL,'digits/2','','{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","run_id":null,"trusted":[]}','fbae12d16966cb77753c7ad6a9f0a6449eabe1293cd6e95b81986493a315a2c1','1a1dff4e79e3b9134b7d114a64774fa95f37ee2730ef4a1482f4ceca95b95f8f');
INSERT INTO "roost_ledger" VALUES(3,'2026-11-21T11:54:53.668294+00:00','ann','endpoint.create','image-search','image-search','','{}','1a1dff4e79e3b9134b7d114a64774fa95f37ee2730ef4a1482f4ceca95b95f8f','c4c2c5661914d8e7bd40ae4f76331db48d1c6536890c5238d24dd0887b2684ed');
INSERT INTO "roost_ledger" VALUES(4,'2026-11-21T11:54:53.675370+00:00','ann','endpoint.create','empty','empty','','{}','c4c2c5661914d8e7bd40ae4f76331db48d1c6536890c5238d24dd0887b2684ed','84e1951e1aac3b2d7a5fbfa371528b04929fc421ae0710f85bd7a039d3870b16');
INSERT INTO "roost_ledger" VALUES(5,'2026-11-21T11:54:53.687317+00:00','ann','deploy','image-search','digits-v1','','{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/1"}','84e1951e1aac3b2d7a5fbfa371528b04929fc421ae0710f85bd7a039d3870b16','3191e308b62bfa97d68e43bb7f259b758819d7723381a87bacc84f25632d148d');
INSERT INTO "roost_ledger" VALUES(6,'2026-11-21T11:54:53.732983+00:00','ann','ready','image-search','digits-v1','','{"n_records":59,"n_rejected":1,"seal":"sha256:8ba02c5a11c4357f3abf9475ee1e3078e346231acc7983024ceb808dc5cb0bc6"}','3191e308b62bfa97d68e43bb7f259b758819d7723381a87bacc84f25632d148d','16009181c735203bb78334fc62616d80ba1895aee91a6ae57c6cd0cf6c8b097c');
INSERT INTO "roost_ledger" VALUES(7,'2026-11-21T11:54:53.754678+00:00','ann','promote','image-search','digits-v1','the first','{"model":"digits/1","previous":null}','16009181c735203bb78334fc62616d80ba1895aee91a6ae57c6cd0cf6c8b097c','1c767578da02d24b0fa71d79d9dfa46b6e546e463737e7f5e9e50139e47f8564');
INSERT INTO "roost_ledger" VALUES(8,'2026-11-21T11:54:53.776328+00:00','ann','deploy','image-search','digits-v2','','{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}','1c767578da02d24b0fa71d79d9dfa46b6e546e463737e7f5e9e50139e47f8564','b8154c2d82740563ea8459e8e4319bad4ff6af3eed9097d1ce8a3b9e30444a44');
INSERT INTO "roost_ledger" VALUES(9,'2026-11-21T11:54:53.791994+00:00','ann','ready','image-search','digits-v2','','{"n_records":60,"n_rejected":0,"seal":"sha256:f338c4064847c169600efff7f4d984a7e5f7b1a75d06c3e74cc784368dc954ec"}','b8154c2d82740563ea8459e8e4319bad4ff6af3eed9097d1ce8a3b9e30444a44','6186e384fc0aae075c75be1993a8f5ce0a87a85e43a5179df6060ee556e786c8');
INSERT INTO "roost_ledger" VALUES(10,'2026-11-21T11:54:53.806659+00:00','ann','test.start','image-search','test 1','','{"alpha":0.05,"challenger":"digits-v2","max_queries":50,"method":"interleave"}','6186e384fc0aae075c75be1993a8f5ce0a87a85e43a5179df6060ee556e786c8','ee37553c3c8be58ea4dd78c3ea004a22e99684065959b202e5f15b3d3dfa304d');
INSERT INTO "roost_ledger" VALUES(11,'2026-11-21T11:54:53.823645+00:00','ann','test.stop','image-search','test 1','enough','{"alpha":0.05,"challenger":"digits-v2","challenger_wins":1,"champion":"digits-v1","champion_wins":3,"decision":"undecided","n_queries":6,"p_value":0.9545454545454506,"test_id":1,"ties":2}','ee37553c3c8be58ea4dd78c3ea004a22e99684065959b202e5f15b3d3dfa304d','ce42efa2a66613d84044dcf62dff6eadab5d49c2f9127a15b57856874f39a4a7');
INSERT INTO "roost_ledger" VALUES(12,'2026-11-21T11:54:53.826780+00:00','ann','promote','image-search','digits-v2','better','{"model":"digits/2","precision":0.9,"previous":"digits-v1"}','ce42efa2a66613d84044dcf62dff6eadab5d49c2f9127a15b57856874f39a4a7','cd37ac45128b5cb366b1907b2e45329f07f6e3b1ac8684f2e7f4b1f4706cc5dc');
INSERT INTO "roost_ledger" VALUES(13,'2026-11-21T11:54:53.846054+00:00','ann','rollback','image-search','digits-v1','complaints','{"model":"digits/1","previous":"digits-v2"}','cd37ac45128b5cb366b1907b2e45329f07f6e3b1ac8684f2e7f4b1f4706cc5dc','32b3b1a1dfeed2e20f6a9204de417ac027db0ba5473a2d5961d1f3986d299aa8');
INSERT INTO "roost_ledger" VALUES(14,'2026-11-21T11:54:53.869002+00:00','ann','deploy','image-search','spare','','{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}','32b3b1a1dfeed2e20f6a9204de417ac027db0ba5473a2d5961d1f3986d299aa8','129fb55d3d4b98fa8c21bbd84ea2aee51278a7a7431ec2659bc1b2ae208b4a0a');
INSERT INTO "roost_ledger" VALUES(15,'2026-11-21T11:54:53.884771+00:00','ann','ready','image-search','spare','','{"n_records":20,"n_rejected":0,"seal":"sha256:01753497992113293b0d30c432caed4c2d7b2c4f0cda5e2e469d704d7d9281f9"}','129fb55d3d4b98fa8c21bbd84ea2aee51278a7a7431ec2659bc1b2ae208b4a0a','c24b819f5b670b4293fbcd04822dcdcd934a41b16e27094051c6f75953506d81');
INSERT INTO "roost_ledger" VALUES(16,'2026-11-21T11:54:53.893606+00:00','ann','retire','image-search','spare','not needed','{}','c24b819f5b670b4293fbcd04822dcdcd934a41b16e27094051c6f75953506d81','c39f16bab3fdaa13978d411f29cb433f9bc36075496ec0ac668f9e8883f97976');
INSERT INTO "roost_ledger" VALUES(17,'2026-11-21T11:54:53.905881+00:00','ann','deploy','image-search','half','','{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}','c39f16bab3fdaa13978d411f29cb433f9bc36075496ec0ac668f9e8883f97976','b6c294a7aeeb3f6431709819248eb4e9a29a48f3b9f96f83a758c5b78d0c2232');
INSERT INTO "roost_ledger" VALUES(18,'2026-11-21T11:54:53.931484+00:00','ann','deploy','image-search','failed','','{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/1"}','b6c294a7aeeb3f6431709819248eb4e9a29a48f3b9f96f83a758c5b78d0c2232','4a73e1228198ce967ceedfce072ca9b146f8084d6effe15752ceeb82148311e9');
INSERT INTO "roost_ledger" VALUES(19,'2026-11-21T11:54:53.943558+00:00','ann','fail','image-search','failed','it could not be built: no record could be stored: all 1 were set aside, the first, with the key 1, because the record has no content (the only reason; endpoint.rejected(''failed'') lists all)','{}','4a73e1228198ce967ceedfce072ca9b146f8084d6effe15752ceeb82148311e9','fa7d26f147822bc03fd41a393e36e4f3f31192324e8b59cf1ffa622e4e580f53');
INSERT INTO "roost_ledger" VALUES(20,'2026-11-21T11:54:53.949801+00:00','ann','test.start','image-search','test 2','','{"alpha":0.05,"challenger":"digits-v2","max_queries":null,"method":"interleave"}','fa7d26f147822bc03fd41a393e36e4f3f31192324e8b59cf1ffa622e4e580f53','9027a58f4e314027d6b037d91bf384ce42980eab6b39bc42e38bae447d9b04ec');
CREATE TABLE roost_ledger_head (
	id INTEGER NOT NULL, 
	seq BIGINT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "roost_ledger_head" VALUES(1,20,'9027a58f4e314027d6b037d91bf384ce42980eab6b39bc42e38bae447d9b04ec');
CREATE TABLE roost_live_tests (
	id INTEGER NOT NULL, 
	endpoint_id INTEGER NOT NULL, 
	champion_id INTEGER NOT NULL, 
	challenger_id INTEGER NOT NULL, 
	method VARCHAR(20) NOT NULL, 
	max_queries INTEGER, 
	seed BIGINT NOT NULL, 
	alpha DOUBLE NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	decision VARCHAR(20), 
	started_at VARCHAR(32) NOT NULL, 
	ended_at VARCHAR(32), 
	PRIMARY KEY (id), 
	FOREIGN KEY(challenger_id) REFERENCES roost_deployments (id), 
	FOREIGN KEY(champion_id) REFERENCES roost_deployments (id), 
	FOREIGN KEY(endpoint_id) REFERENCES roost_endpoints (id)
);
INSERT INTO "roost_live_tests" VALUES(1,1,1,2,'interleave',50,5,0.05,'stopped','undecided','2026-11-21T11:54:53.805554+00:00','2026-11-21T11:54:53.823436+00:00');
INSERT INTO "roost_live_tests" VALUES(2,1,1,2,'interleave',NULL,6,0.05,'running',NULL,'2026-11-21T11:54:53.949220+00:00',NULL);
CREATE TABLE roost_live_writes (
	deployment_id INTEGER NOT NULL, 
	"key" VARCHAR(512) NOT NULL, 
	PRIMARY KEY (deployment_id, "key"), 
	FOREIGN KEY(deployment_id) REFERENCES roost_deployments (id)
);
INSERT INTO "roost_live_writes" VALUES(4,'59');
CREATE TABLE roost_rejected (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	"key" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(job_id) REFERENCES roost_jobs (id), 
	UNIQUE (job_id, position)
);
INSERT INTO "roost_rejected" VALUES(1,1,7,'7','the embedder cannot embed this content: Input X contains NaN.
PCA does not accept missing values encoded as NaN natively. For supervised learning, you might want to consider sklearn.ensemble.HistGradientBoostingClassifier and Regressor which accept missing values encoded as NaNs natively. Alternatively, it is possible to preprocess the data, for instance by using an imputer transformer in a pipeline or drop samples with missing values. See https://scikit-learn.org/stable/modules/impute.html You can find a list of all estimators that handle NaN values at the following page: https://scikit-learn.org/stable/modules/impute.html#estimators-that-handle-nan-values');
INSERT INTO "roost_rejected" VALUES(2,5,0,'1','the record has no content');
CREATE INDEX ix_roost_events_query_id ON roost_events (query_id);
CREATE INDEX roost_events_test ON roost_events (test_id, kind);
CREATE INDEX ix_roost_ledger_endpoint ON roost_ledger (endpoint);
CREATE INDEX ix_roost_jobs_deployment_id ON roost_jobs (deployment_id);
CREATE INDEX ix_roost_live_tests_endpoint_id ON roost_live_tests (endpoint_id);
CREATE TRIGGER roost_ledger_no_update BEFORE UPDATE ON roost_ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER roost_ledger_no_delete BEFORE DELETE ON roost_ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
COMMIT;
