package session

// dictionary is what the content of envelopes usually has, for zstd to point to: a session is too short to repeat itself
// much. What is most usual stands last. It is part of the version: another one could not read what this one wrote.
const dictionary = `,"address":{"formatted":"","street_address":"","locality":"","postal_code":"","country":""},"birthdate":"","gender":"",` +
	`"middle_name":"","nickname":"","website":"https://","profile":"https://","updated_at":"zoneinfo":"Europe/","locale":"en-US","locale":"de-DE",` +
	`"phone_number":"+49","phone_number":"+1","phone_number_verified":false,"picture":"https://lh3.googleusercontent.com/a/` +
	`"oid":"","tid":"","upn":"","unique_name":"","ver":"2.0","ver":"1.0","appid":"","appidacr":"1","idp":"https://sts.windows.net/","idtyp":"user",` +
	`"ipaddr":"","uti":"","rh":"0.A","scp":"User.Read","aio":"","wids":[","xms_tcdt":,"roles":["https://login.microsoftonline.com//v2.0"` +
	`"cid":"","uid":"00u","groups":["Everyone","https://.okta.com/oauth2/default","gty":"password","permissions":["read:","write:","org_id":"org_` +
	`"https://.auth0.com/","https://.eu.auth0.com/userinfo"],"sub":"auth0|","azp":"","hd":"","https://accounts.google.com",` +
	`"session_state":"","realm_access":{"roles":["default-roles-","offline_access","uma_authorization"]},"resource_access":{"account":{"roles":` +
	`["manage-account","manage-account-links","view-profile"]}},"allowed-origins":["https://"],"acr":"1","typ":"Bearer","typ":"ID","sid":"","/realms/` +
	`Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1` +
	`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7; rv:140.0) Gecko/20100101 Firefox/140.0` +
	`Mozilla/5.0 (Windows NT 10.0; Win64; x64) (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0` +
	`{"typ":"JWT","alg":"RS256","kid":"","x5t":""}{"cty":"JWT","enc":"A256GCM","alg":"RSA-OAEP"}{"kid":"","alg":"RS256"}{"sub":"` +
	`"amr":["pwd","mfa"],"nonce":"","c_hash":"","s_hash":"","nbf":,"userId":"","providerName":"","providerType":"OIDC","issuer":null,"primary":"true","dateCreated":"` +
	`"identities":[{"cognito:roles":["arn:aws:iam::"],"cognito:preferred_role":"arn:aws:iam::","device_key":"","preferred_username":"","custom:` +
	`","given_name":"","family_name":"","name":"","email":"@gmail.com","email":"@example.com","email_verified":true,"at_hash":"","cognito:groups":["` +
	`"],"iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_","cognito:username":"","origin_jti":"","aud":"","event_id":"","token_use":"id",` +
	`"auth_time":17,"exp":17,"iat":17,"jti":"","client_id":"","token_use":"access","scope":"aws.cognito.signin.user.admin phone openid profile email",` +
	`"username":"","version":2,"https://cognito-idp.us-east-1.amazonaws.com/us-east-1_`

const dictionaryID = 1
