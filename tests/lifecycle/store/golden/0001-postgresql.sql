SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.roost_ledger_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$BEGIN RAISE EXCEPTION 'the ledger is append-only'; END$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.roost_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.roost_deployments (
    id integer NOT NULL,
    endpoint_id integer NOT NULL,
    name character varying(100) NOT NULL,
    collection character varying(255) NOT NULL,
    state character varying(20) NOT NULL,
    model_name character varying(100) NOT NULL,
    model_version integer NOT NULL,
    model_files text NOT NULL,
    fingerprint character varying(80) NOT NULL,
    dim integer NOT NULL,
    index_params text NOT NULL,
    search_params text NOT NULL,
    n_records bigint NOT NULL,
    seal character varying(80),
    created_at character varying(32) NOT NULL
);
CREATE SEQUENCE public.roost_deployments_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_deployments_id_seq OWNED BY public.roost_deployments.id;
CREATE TABLE public.roost_endpoints (
    id integer NOT NULL,
    name character varying(100) NOT NULL,
    identifier character varying(100) NOT NULL,
    metric character varying(20) NOT NULL,
    fields text NOT NULL,
    description text NOT NULL,
    champion_id integer,
    version integer NOT NULL,
    followed_version integer NOT NULL,
    created_at character varying(32) NOT NULL
);
CREATE SEQUENCE public.roost_endpoints_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_endpoints_id_seq OWNED BY public.roost_endpoints.id;
CREATE TABLE public.roost_events (
    id bigint NOT NULL,
    kind character varying(20) NOT NULL,
    at character varying(32) NOT NULL,
    endpoint character varying(100) NOT NULL,
    deployment character varying(100) NOT NULL,
    query_id character varying(40) NOT NULL,
    test_id integer,
    actor character varying(255),
    latency_ms double precision,
    item text,
    value text
);
CREATE SEQUENCE public.roost_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_events_id_seq OWNED BY public.roost_events.id;
CREATE TABLE public.roost_jobs (
    id integer NOT NULL,
    kind character varying(20) NOT NULL,
    deployment_id integer NOT NULL,
    state character varying(20) NOT NULL,
    n_done bigint NOT NULL,
    n_rejected bigint NOT NULL,
    digest character varying(80) NOT NULL,
    error text,
    updated_at character varying(32) NOT NULL
);
CREATE SEQUENCE public.roost_jobs_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_jobs_id_seq OWNED BY public.roost_jobs.id;
CREATE TABLE public.roost_ledger (
    seq bigint NOT NULL,
    at character varying(32) NOT NULL,
    actor character varying(255) NOT NULL,
    action character varying(40) NOT NULL,
    endpoint character varying(100),
    subject character varying(255) NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    previous_hash character varying(64) NOT NULL,
    hash character varying(64) NOT NULL
);
CREATE TABLE public.roost_ledger_head (
    id integer NOT NULL,
    seq bigint NOT NULL,
    hash character varying(64) NOT NULL
);
CREATE SEQUENCE public.roost_ledger_head_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_ledger_head_id_seq OWNED BY public.roost_ledger_head.id;
CREATE TABLE public.roost_live_tests (
    id integer NOT NULL,
    endpoint_id integer NOT NULL,
    champion_id integer NOT NULL,
    challenger_id integer NOT NULL,
    method character varying(20) NOT NULL,
    max_queries integer,
    seed bigint NOT NULL,
    alpha double precision NOT NULL,
    state character varying(20) NOT NULL,
    decision character varying(20),
    started_at character varying(32) NOT NULL,
    ended_at character varying(32)
);
CREATE SEQUENCE public.roost_live_tests_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_live_tests_id_seq OWNED BY public.roost_live_tests.id;
CREATE TABLE public.roost_live_writes (
    deployment_id integer NOT NULL,
    key character varying(512) NOT NULL
);
CREATE TABLE public.roost_rejected (
    id bigint NOT NULL,
    job_id integer NOT NULL,
    "position" bigint NOT NULL,
    key text NOT NULL,
    reason text NOT NULL
);
CREATE SEQUENCE public.roost_rejected_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.roost_rejected_id_seq OWNED BY public.roost_rejected.id;
ALTER TABLE ONLY public.roost_deployments ALTER COLUMN id SET DEFAULT nextval('public.roost_deployments_id_seq'::regclass);
ALTER TABLE ONLY public.roost_endpoints ALTER COLUMN id SET DEFAULT nextval('public.roost_endpoints_id_seq'::regclass);
ALTER TABLE ONLY public.roost_events ALTER COLUMN id SET DEFAULT nextval('public.roost_events_id_seq'::regclass);
ALTER TABLE ONLY public.roost_jobs ALTER COLUMN id SET DEFAULT nextval('public.roost_jobs_id_seq'::regclass);
ALTER TABLE ONLY public.roost_ledger_head ALTER COLUMN id SET DEFAULT nextval('public.roost_ledger_head_id_seq'::regclass);
ALTER TABLE ONLY public.roost_live_tests ALTER COLUMN id SET DEFAULT nextval('public.roost_live_tests_id_seq'::regclass);
ALTER TABLE ONLY public.roost_rejected ALTER COLUMN id SET DEFAULT nextval('public.roost_rejected_id_seq'::regclass);
INSERT INTO public.roost_alembic_version VALUES ('0001');
INSERT INTO public.roost_deployments VALUES (1, 1, 'digits-v1', 'image_search__digits_v1', 'serving', 'digits', 1, '{"path": "models/digits/25c94cff88584d8a9bc46a528f3152ab", "checksum": "eea2fe56561fefef47eea151939e086427f7669ca310741912e2c396dfe64a9f", "trusted": []}', 'sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268', 4, '{"M":16,"efConstruction":200,"index_type":"HNSW"}', '{}', 59, 'sha256:8ba02c5a11c4357f3abf9475ee1e3078e346231acc7983024ceb808dc5cb0bc6', '2026-11-21T11:54:59.793116+00:00');
INSERT INTO public.roost_deployments VALUES (2, 1, 'digits-v2', 'image_search__digits_v2', 'ready', 'digits', 2, '{"path": "models/digits/08db56ea520a4f3fb8056db9af952085", "checksum": "254bfcbb989e64d8adb63c739c3137753b9306440675a0b755a4057138684f8a", "trusted": []}', 'sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65', 8, '{"M":16,"efConstruction":200,"index_type":"HNSW"}', '{}', 60, 'sha256:f338c4064847c169600efff7f4d984a7e5f7b1a75d06c3e74cc784368dc954ec', '2026-11-21T11:54:59.923324+00:00');
INSERT INTO public.roost_deployments VALUES (3, 1, 'spare', 'image_search__spare', 'retired', 'digits', 2, '{"path": "models/digits/08db56ea520a4f3fb8056db9af952085", "checksum": "254bfcbb989e64d8adb63c739c3137753b9306440675a0b755a4057138684f8a", "trusted": []}', 'sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65', 8, '{"M":16,"efConstruction":200,"index_type":"HNSW"}', '{}', 20, 'sha256:01753497992113293b0d30c432caed4c2d7b2c4f0cda5e2e469d704d7d9281f9', '2026-11-21T11:55:00.085948+00:00');
INSERT INTO public.roost_deployments VALUES (4, 1, 'half', 'image_search__half', 'building', 'digits', 2, '{"path": "models/digits/08db56ea520a4f3fb8056db9af952085", "checksum": "254bfcbb989e64d8adb63c739c3137753b9306440675a0b755a4057138684f8a", "trusted": []}', 'sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65', 8, '{"M":16,"efConstruction":200,"index_type":"HNSW"}', '{}', 0, NULL, '2026-11-21T11:55:00.162407+00:00');
INSERT INTO public.roost_deployments VALUES (5, 1, 'failed', 'image_search__failed', 'failed', 'digits', 1, '{"path": "models/digits/25c94cff88584d8a9bc46a528f3152ab", "checksum": "eea2fe56561fefef47eea151939e086427f7669ca310741912e2c396dfe64a9f", "trusted": []}', 'sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268', 4, '{"M":16,"efConstruction":200,"index_type":"HNSW"}', '{}', 0, NULL, '2026-11-21T11:55:00.208464+00:00');
INSERT INTO public.roost_endpoints VALUES (2, 'empty', 'empty', 'COSINE', '[{"auto_id": false, "description": "", "is_primary": true, "name": "id", "type": 5}]', '', NULL, 1, 1, '2026-11-21T11:54:59.786796+00:00');
INSERT INTO public.roost_endpoints VALUES (1, 'image-search', 'image_search', 'L2', '[{"auto_id": false, "description": "", "is_primary": true, "name": "id", "type": 5}]', 'handwritten digits', 1, 17, 13, '2026-11-21T11:54:59.773577+00:00');
INSERT INTO public.roost_events VALUES (1, 'outcome', '2026-11-21T11:54:59.991600+00:00', 'image-search', 'digits-v1', '694033eec4a8402abe9d9461c125246c', 1, NULL, NULL, NULL, 'champion');
INSERT INTO public.roost_events VALUES (2, 'feedback', '2026-11-21T11:54:59.991646+00:00', 'image-search', 'digits-v1', '694033eec4a8402abe9d9461c125246c', 1, NULL, NULL, NULL, '{"13":1.0,"31":0.0,"45":1.0,"5":0.0,"59":1.0}');
INSERT INTO public.roost_events VALUES (3, 'outcome', '2026-11-21T11:54:59.992825+00:00', 'image-search', 'digits-v1', '9f36bb5bf951476d90a1f01f39684e4e', 1, NULL, NULL, NULL, 'champion');
INSERT INTO public.roost_events VALUES (4, 'feedback', '2026-11-21T11:54:59.992854+00:00', 'image-search', 'digits-v1', '9f36bb5bf951476d90a1f01f39684e4e', 1, NULL, NULL, NULL, '{"17":1.0,"43":1.0,"44":1.0,"52":1.0,"53":0.0}');
INSERT INTO public.roost_events VALUES (5, 'outcome', '2026-11-21T11:54:59.993713+00:00', 'image-search', 'digits-v1', 'c0f04fce39a84e43813216243b5d56de', 1, NULL, NULL, NULL, 'challenger');
INSERT INTO public.roost_events VALUES (6, 'feedback', '2026-11-21T11:54:59.993737+00:00', 'image-search', 'digits-v1', 'c0f04fce39a84e43813216243b5d56de', 1, NULL, NULL, NULL, '{"13":1.0,"31":0.0,"45":1.0,"5":0.0,"59":1.0}');
INSERT INTO public.roost_events VALUES (7, 'outcome', '2026-11-21T11:54:59.994506+00:00', 'image-search', 'digits-v1', '3c75dd8174c1453dae352edc542fefea', 1, NULL, NULL, NULL, 'champion');
INSERT INTO public.roost_events VALUES (8, 'feedback', '2026-11-21T11:54:59.994527+00:00', 'image-search', 'digits-v1', '3c75dd8174c1453dae352edc542fefea', 1, NULL, NULL, NULL, '{"13":1.0,"23":1.0,"3":1.0,"45":1.0,"59":1.0}');
INSERT INTO public.roost_events VALUES (9, 'outcome', '2026-11-21T11:54:59.995217+00:00', 'image-search', 'digits-v1', '87ef3c1a45c9419894ed0a5b92f196c9', 1, NULL, NULL, NULL, 'tie');
INSERT INTO public.roost_events VALUES (10, 'feedback', '2026-11-21T11:54:59.995238+00:00', 'image-search', 'digits-v1', '87ef3c1a45c9419894ed0a5b92f196c9', 1, NULL, NULL, NULL, '{"14":1.0,"24":1.0,"4":1.0,"41":1.0,"55":0.0}');
INSERT INTO public.roost_events VALUES (11, 'outcome', '2026-11-21T11:54:59.995912+00:00', 'image-search', 'digits-v1', '6d5bccce599f41ee8d477d28ad726833', 1, NULL, NULL, NULL, 'tie');
INSERT INTO public.roost_events VALUES (12, 'feedback', '2026-11-21T11:54:59.995931+00:00', 'image-search', 'digits-v1', '6d5bccce599f41ee8d477d28ad726833', 1, NULL, NULL, NULL, '{"16":1.0,"26":1.0,"34":1.0,"58":1.0,"6":1.0}');
INSERT INTO public.roost_events VALUES (13, 'search', '2026-11-21T11:54:59.991225+00:00', 'image-search', 'digits-v1', '694033eec4a8402abe9d9461c125246c', 1, NULL, 4.062932999659097, NULL, NULL);
INSERT INTO public.roost_events VALUES (14, 'search', '2026-11-21T11:54:59.992742+00:00', 'image-search', 'digits-v1', '9f36bb5bf951476d90a1f01f39684e4e', 1, NULL, 1.0809499999595573, NULL, NULL);
INSERT INTO public.roost_events VALUES (15, 'search', '2026-11-21T11:54:59.993646+00:00', 'image-search', 'digits-v1', 'c0f04fce39a84e43813216243b5d56de', 1, NULL, 0.7805029999872204, NULL, NULL);
INSERT INTO public.roost_events VALUES (16, 'search', '2026-11-21T11:54:59.994449+00:00', 'image-search', 'digits-v1', '3c75dd8174c1453dae352edc542fefea', 1, NULL, 0.702065999576007, NULL, NULL);
INSERT INTO public.roost_events VALUES (17, 'search', '2026-11-21T11:54:59.995170+00:00', 'image-search', 'digits-v1', '87ef3c1a45c9419894ed0a5b92f196c9', 1, NULL, 0.6313310004770756, NULL, NULL);
INSERT INTO public.roost_events VALUES (18, 'search', '2026-11-21T11:54:59.995865+00:00', 'image-search', 'digits-v1', '6d5bccce599f41ee8d477d28ad726833', 1, NULL, 0.6182209999678889, NULL, NULL);
INSERT INTO public.roost_events VALUES (19, 'outcome', '2026-11-21T11:55:00.260556+00:00', 'image-search', 'digits-v1', '78e0ac99051e45e98669be6d0ef91b8d', 2, NULL, NULL, NULL, 'tie');
INSERT INTO public.roost_events VALUES (20, 'feedback', '2026-11-21T11:55:00.260595+00:00', 'image-search', 'digits-v1', '78e0ac99051e45e98669be6d0ef91b8d', 2, NULL, NULL, NULL, '{"16":1.0,"26":1.0,"34":1.0,"58":1.0,"6":1.0}');
INSERT INTO public.roost_events VALUES (21, 'outcome', '2026-11-21T11:55:00.262237+00:00', 'image-search', 'digits-v1', '5385c411e0944af7acbb5aad588e730c', 2, NULL, NULL, NULL, 'tie');
INSERT INTO public.roost_events VALUES (22, 'feedback', '2026-11-21T11:55:00.262270+00:00', 'image-search', 'digits-v1', '5385c411e0944af7acbb5aad588e730c', 2, NULL, NULL, NULL, '{"26":1.0,"48":0.0,"49":0.0,"58":1.0,"6":1.0}');
INSERT INTO public.roost_events VALUES (23, 'outcome', '2026-11-21T11:55:00.263444+00:00', 'image-search', 'digits-v1', 'ff691f4a35c84c78afd3e9161a609ae6', 2, NULL, NULL, NULL, 'challenger');
INSERT INTO public.roost_events VALUES (24, 'feedback', '2026-11-21T11:55:00.263470+00:00', 'image-search', 'digits-v1', 'ff691f4a35c84c78afd3e9161a609ae6', 2, NULL, NULL, NULL, '{"14":1.0,"24":1.0,"4":1.0,"41":1.0,"54":0.0}');
INSERT INTO public.roost_events VALUES (25, 'search', '2026-11-21T11:55:00.260456+00:00', 'image-search', 'digits-v1', '78e0ac99051e45e98669be6d0ef91b8d', 2, NULL, 2.255150000564754, NULL, NULL);
INSERT INTO public.roost_events VALUES (26, 'search', '2026-11-21T11:55:00.262154+00:00', 'image-search', 'digits-v1', '5385c411e0944af7acbb5aad588e730c', 2, NULL, 1.4866349993098993, NULL, NULL);
INSERT INTO public.roost_events VALUES (27, 'search', '2026-11-21T11:55:00.263378+00:00', 'image-search', 'digits-v1', 'ff691f4a35c84c78afd3e9161a609ae6', 2, NULL, 1.0950420000881422, NULL, NULL);
INSERT INTO public.roost_jobs VALUES (1, 'backfill', 1, 'done', 60, 1, '4585113e8ac9d9d6147008821dde113a2112bf2e78014264df233db6662e132a', NULL, '2026-11-21T11:54:59.860155+00:00');
INSERT INTO public.roost_jobs VALUES (2, 'backfill', 2, 'done', 60, 0, '4585113e8ac9d9d6147008821dde113a2112bf2e78014264df233db6662e132a', NULL, '2026-11-21T11:54:59.949465+00:00');
INSERT INTO public.roost_jobs VALUES (3, 'backfill', 3, 'done', 20, 0, 'a03dce99847e55152e3f411d3365fdeca9af8ac07254f1888503e5193f1124c6', NULL, '2026-11-21T11:55:00.116772+00:00');
INSERT INTO public.roost_jobs VALUES (4, 'backfill', 4, 'interrupted', 40, 0, '8c439d8893de89814b0bc6e98dee22f22423d3d6794d0389cff651da139b70a9', 'KeyboardInterrupt: ', '2026-11-21T11:55:00.204932+00:00');
INSERT INTO public.roost_jobs VALUES (5, 'backfill', 5, 'failed', 1, 1, '00a7c8145b7fce110a482df4e5bee3e1eb18c561756a8ce279569349f7b4753a', 'WorkspaceError: <WorkspaceError: (code=65535, message=no record could be stored: all 1 were set aside, the first, with the key 1, because the record has no content (the only reason; endpoint.rejected(''failed'') lists all))>', '2026-11-21T11:55:00.235218+00:00');
INSERT INTO public.roost_ledger VALUES (1, '2026-11-21T11:54:59.719700+00:00', 'ann', 'register', NULL, 'digits/1', '', '{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","run_id":null,"trusted":[]}', '0000000000000000000000000000000000000000000000000000000000000000', '5f69a40c5f969ec3df342509a26681b4870ef2298c57ffc9f5fa6ead8a1dbee9');
INSERT INTO public.roost_ledger VALUES (2, '2026-11-21T11:54:59.767049+00:00', 'ann', 'register', NULL, 'digits/2', '', '{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","run_id":null,"trusted":[]}', '5f69a40c5f969ec3df342509a26681b4870ef2298c57ffc9f5fa6ead8a1dbee9', '189aba0640f484f11c948a27eedf490d749a717284819a8e2dd39401ab534192');
INSERT INTO public.roost_ledger VALUES (3, '2026-11-21T11:54:59.774226+00:00', 'ann', 'endpoint.create', 'image-search', 'image-search', '', '{}', '189aba0640f484f11c948a27eedf490d749a717284819a8e2dd39401ab534192', '3418e63561fa299b33005407eb3b4cfe8e571ac75c8a8c45574d7581eaac2544');
INSERT INTO public.roost_ledger VALUES (4, '2026-11-21T11:54:59.787263+00:00', 'ann', 'endpoint.create', 'empty', 'empty', '', '{}', '3418e63561fa299b33005407eb3b4cfe8e571ac75c8a8c45574d7581eaac2544', '748ea36abdfee59205a044259b897022a6d2a852c5c15ec3137905319f665857');
INSERT INTO public.roost_ledger VALUES (5, '2026-11-21T11:54:59.804322+00:00', 'ann', 'deploy', 'image-search', 'digits-v1', '', '{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/1"}', '748ea36abdfee59205a044259b897022a6d2a852c5c15ec3137905319f665857', 'aeadaa0b6930a00f45f85ab650cd6b42063a75590bd2cce237433a81ed627383');
INSERT INTO public.roost_ledger VALUES (6, '2026-11-21T11:54:59.860667+00:00', 'ann', 'ready', 'image-search', 'digits-v1', '', '{"n_records":59,"n_rejected":1,"seal":"sha256:8ba02c5a11c4357f3abf9475ee1e3078e346231acc7983024ceb808dc5cb0bc6"}', 'aeadaa0b6930a00f45f85ab650cd6b42063a75590bd2cce237433a81ed627383', 'f2c1b30c9277c445aee45bbf3d8c47e26fa56f9ef0b28f33a0e9c2cd6e8a2efc');
INSERT INTO public.roost_ledger VALUES (7, '2026-11-21T11:54:59.894498+00:00', 'ann', 'promote', 'image-search', 'digits-v1', 'the first', '{"model":"digits/1","previous":null}', 'f2c1b30c9277c445aee45bbf3d8c47e26fa56f9ef0b28f33a0e9c2cd6e8a2efc', 'a3b845bdcebbe4b52229c37420d85abe1a553441bb9ea78b3cc9811a7330e127');
INSERT INTO public.roost_ledger VALUES (8, '2026-11-21T11:54:59.927547+00:00', 'ann', 'deploy', 'image-search', 'digits-v2', '', '{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}', 'a3b845bdcebbe4b52229c37420d85abe1a553441bb9ea78b3cc9811a7330e127', 'c75fa2013ff273e63bcec8de8a81d6a5ead9287a7ce7497ea1815c23214723b7');
INSERT INTO public.roost_ledger VALUES (9, '2026-11-21T11:54:59.949996+00:00', 'ann', 'ready', 'image-search', 'digits-v2', '', '{"n_records":60,"n_rejected":0,"seal":"sha256:f338c4064847c169600efff7f4d984a7e5f7b1a75d06c3e74cc784368dc954ec"}', 'c75fa2013ff273e63bcec8de8a81d6a5ead9287a7ce7497ea1815c23214723b7', '89b690cdc74998a4d1928e5d556674dafe03cff6c04083d07d04835880189e20');
INSERT INTO public.roost_ledger VALUES (10, '2026-11-21T11:54:59.980589+00:00', 'ann', 'test.start', 'image-search', 'test 1', '', '{"alpha":0.05,"challenger":"digits-v2","max_queries":50,"method":"interleave"}', '89b690cdc74998a4d1928e5d556674dafe03cff6c04083d07d04835880189e20', 'c7fb012cb186a173b6d7a742728f2f8bae747ba48422cc0bf570a68d13f41085');
INSERT INTO public.roost_ledger VALUES (11, '2026-11-21T11:55:00.004297+00:00', 'ann', 'test.stop', 'image-search', 'test 1', 'enough', '{"alpha":0.05,"challenger":"digits-v2","challenger_wins":1,"champion":"digits-v1","champion_wins":3,"decision":"undecided","n_queries":6,"p_value":0.9545454545454506,"test_id":1,"ties":2}', 'c7fb012cb186a173b6d7a742728f2f8bae747ba48422cc0bf570a68d13f41085', '2f71577d8932ce01b8cca81b3a00f869b4814ec7b5ac1bd2b195eda610e6e502');
INSERT INTO public.roost_ledger VALUES (12, '2026-11-21T11:55:00.012343+00:00', 'ann', 'promote', 'image-search', 'digits-v2', 'better', '{"model":"digits/2","precision":0.9,"previous":"digits-v1"}', '2f71577d8932ce01b8cca81b3a00f869b4814ec7b5ac1bd2b195eda610e6e502', '2321f8eb208a18c746c12dff22499fbe291b4dac26683f14314e5025cc98d130');
INSERT INTO public.roost_ledger VALUES (13, '2026-11-21T11:55:00.051406+00:00', 'ann', 'rollback', 'image-search', 'digits-v1', 'complaints', '{"model":"digits/1","previous":"digits-v2"}', '2321f8eb208a18c746c12dff22499fbe291b4dac26683f14314e5025cc98d130', 'e06b05efdb92c5a2310196b13abaf3ec8a5b26d052ce554281e41ee6b6579082');
INSERT INTO public.roost_ledger VALUES (14, '2026-11-21T11:55:00.090982+00:00', 'ann', 'deploy', 'image-search', 'spare', '', '{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}', 'e06b05efdb92c5a2310196b13abaf3ec8a5b26d052ce554281e41ee6b6579082', '2fffa631d9da6b9917b114a01a1e901ea31e0be64feac227023c091aed71ea03');
INSERT INTO public.roost_ledger VALUES (15, '2026-11-21T11:55:00.117430+00:00', 'ann', 'ready', 'image-search', 'spare', '', '{"n_records":20,"n_rejected":0,"seal":"sha256:01753497992113293b0d30c432caed4c2d7b2c4f0cda5e2e469d704d7d9281f9"}', '2fffa631d9da6b9917b114a01a1e901ea31e0be64feac227023c091aed71ea03', '76f73203dc86583ffea18daa8ec59effa38054dcaca50d5e52ab2d3c7c1409f9');
INSERT INTO public.roost_ledger VALUES (16, '2026-11-21T11:55:00.136570+00:00', 'ann', 'retire', 'image-search', 'spare', 'not needed', '{}', '76f73203dc86583ffea18daa8ec59effa38054dcaca50d5e52ab2d3c7c1409f9', '05426e2444d52517d3514831c5d6d96956f59ec86a6a3ff7afc9c41ad96274a3');
INSERT INTO public.roost_ledger VALUES (17, '2026-11-21T11:55:00.169688+00:00', 'ann', 'deploy', 'image-search', 'half', '', '{"fingerprint":"sha256:8b729885201389350b731e905f6761bdb75e8d54bf947a851c2b8f6149fbab65","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/2"}', '05426e2444d52517d3514831c5d6d96956f59ec86a6a3ff7afc9c41ad96274a3', 'ce194fde6e8bd15e2b76b4693824a7d4460aaaf5a08593dca3f56de17ea1a205');
INSERT INTO public.roost_ledger VALUES (18, '2026-11-21T11:55:00.213996+00:00', 'ann', 'deploy', 'image-search', 'failed', '', '{"fingerprint":"sha256:b6b30e5ca06999713001e37d33af4f36cc1ee840fe442c0dff26312597909268","index":{"M":16,"efConstruction":200,"index_type":"HNSW"},"model":"digits/1"}', 'ce194fde6e8bd15e2b76b4693824a7d4460aaaf5a08593dca3f56de17ea1a205', '8fd8be0a663b6b160f3458bdc27d3220c43788419bee8edef64c31e7eb85cfe2');
INSERT INTO public.roost_ledger VALUES (19, '2026-11-21T11:55:00.238945+00:00', 'ann', 'fail', 'image-search', 'failed', 'it could not be built: no record could be stored: all 1 were set aside, the first, with the key 1, because the record has no content (the only reason; endpoint.rejected(''failed'') lists all)', '{}', '8fd8be0a663b6b160f3458bdc27d3220c43788419bee8edef64c31e7eb85cfe2', '897ffce50244d1749a6fa8e1d2ef3c4120abd7edf972d3f50ea6613fe6a55b08');
INSERT INTO public.roost_ledger VALUES (20, '2026-11-21T11:55:00.252025+00:00', 'ann', 'test.start', 'image-search', 'test 2', '', '{"alpha":0.05,"challenger":"digits-v2","max_queries":null,"method":"interleave"}', '897ffce50244d1749a6fa8e1d2ef3c4120abd7edf972d3f50ea6613fe6a55b08', '38105d309a899e417f446dc7f3c7394e1c351dc5112959f820897632c0e0fb73');
INSERT INTO public.roost_ledger_head VALUES (1, 20, '38105d309a899e417f446dc7f3c7394e1c351dc5112959f820897632c0e0fb73');
INSERT INTO public.roost_live_tests VALUES (1, 1, 1, 2, 'interleave', 50, 5, 0.05, 'stopped', 'undecided', '2026-11-21T11:54:59.978143+00:00', '2026-11-21T11:55:00.003722+00:00');
INSERT INTO public.roost_live_tests VALUES (2, 1, 1, 2, 'interleave', NULL, 6, 0.05, 'running', NULL, '2026-11-21T11:55:00.250116+00:00', NULL);
INSERT INTO public.roost_live_writes VALUES (4, '59');
INSERT INTO public.roost_rejected VALUES (1, 1, 7, '7', 'the embedder cannot embed this content: Input X contains NaN.
PCA does not accept missing values encoded as NaN natively. For supervised learning, you might want to consider sklearn.ensemble.HistGradientBoostingClassifier and Regressor which accept missing values encoded as NaNs natively. Alternatively, it is possible to preprocess the data, for instance by using an imputer transformer in a pipeline or drop samples with missing values. See https://scikit-learn.org/stable/modules/impute.html You can find a list of all estimators that handle NaN values at the following page: https://scikit-learn.org/stable/modules/impute.html#estimators-that-handle-nan-values');
INSERT INTO public.roost_rejected VALUES (2, 5, 0, '1', 'the record has no content');
SELECT pg_catalog.setval('public.roost_deployments_id_seq', 5, true);
SELECT pg_catalog.setval('public.roost_endpoints_id_seq', 2, true);
SELECT pg_catalog.setval('public.roost_events_id_seq', 27, true);
SELECT pg_catalog.setval('public.roost_jobs_id_seq', 5, true);
SELECT pg_catalog.setval('public.roost_ledger_head_id_seq', 1, false);
SELECT pg_catalog.setval('public.roost_live_tests_id_seq', 2, true);
SELECT pg_catalog.setval('public.roost_rejected_id_seq', 2, true);
ALTER TABLE ONLY public.roost_alembic_version
    ADD CONSTRAINT roost_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.roost_deployments
    ADD CONSTRAINT roost_deployments_collection_key UNIQUE (collection);
ALTER TABLE ONLY public.roost_deployments
    ADD CONSTRAINT roost_deployments_endpoint_id_name_key UNIQUE (endpoint_id, name);
ALTER TABLE ONLY public.roost_deployments
    ADD CONSTRAINT roost_deployments_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_endpoints
    ADD CONSTRAINT roost_endpoints_identifier_key UNIQUE (identifier);
ALTER TABLE ONLY public.roost_endpoints
    ADD CONSTRAINT roost_endpoints_name_key UNIQUE (name);
ALTER TABLE ONLY public.roost_endpoints
    ADD CONSTRAINT roost_endpoints_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_events
    ADD CONSTRAINT roost_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_jobs
    ADD CONSTRAINT roost_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_ledger_head
    ADD CONSTRAINT roost_ledger_head_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_ledger
    ADD CONSTRAINT roost_ledger_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.roost_live_tests
    ADD CONSTRAINT roost_live_tests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.roost_live_writes
    ADD CONSTRAINT roost_live_writes_pkey PRIMARY KEY (deployment_id, key);
ALTER TABLE ONLY public.roost_rejected
    ADD CONSTRAINT roost_rejected_job_id_position_key UNIQUE (job_id, "position");
ALTER TABLE ONLY public.roost_rejected
    ADD CONSTRAINT roost_rejected_pkey PRIMARY KEY (id);
CREATE INDEX ix_roost_events_query_id ON public.roost_events USING btree (query_id);
CREATE INDEX ix_roost_jobs_deployment_id ON public.roost_jobs USING btree (deployment_id);
CREATE INDEX ix_roost_ledger_endpoint ON public.roost_ledger USING btree (endpoint);
CREATE INDEX ix_roost_live_tests_endpoint_id ON public.roost_live_tests USING btree (endpoint_id);
CREATE INDEX roost_events_test ON public.roost_events USING btree (test_id, kind);
CREATE TRIGGER roost_ledger_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.roost_ledger FOR EACH STATEMENT EXECUTE FUNCTION public.roost_ledger_refuse();
ALTER TABLE ONLY public.roost_deployments
    ADD CONSTRAINT roost_deployments_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.roost_endpoints(id);
ALTER TABLE ONLY public.roost_jobs
    ADD CONSTRAINT roost_jobs_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.roost_deployments(id);
ALTER TABLE ONLY public.roost_live_tests
    ADD CONSTRAINT roost_live_tests_challenger_id_fkey FOREIGN KEY (challenger_id) REFERENCES public.roost_deployments(id);
ALTER TABLE ONLY public.roost_live_tests
    ADD CONSTRAINT roost_live_tests_champion_id_fkey FOREIGN KEY (champion_id) REFERENCES public.roost_deployments(id);
ALTER TABLE ONLY public.roost_live_tests
    ADD CONSTRAINT roost_live_tests_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.roost_endpoints(id);
ALTER TABLE ONLY public.roost_live_writes
    ADD CONSTRAINT roost_live_writes_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.roost_deployments(id);
ALTER TABLE ONLY public.roost_rejected
    ADD CONSTRAINT roost_rejected_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.roost_jobs(id);
