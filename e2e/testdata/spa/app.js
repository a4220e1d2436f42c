// The smallest app there can be: it asks who is signed in, calls an API, signs out; all through Cloakroom's own module.
import { fetch, login, user } from '/bff/client.js';

const show = (name, value) => {
  const element = document.getElementById(name);
  element.textContent = JSON.stringify(value);
  element.dataset.done = '';
};

const answer = async (response) => ({ status: response.status, type: response.headers.get('content-type'), body: await response.json().catch(() => null) });

document.getElementById('login').addEventListener('click', () => login({ returnTo: '/?back=1' }));
document.getElementById('call').addEventListener('click', async () => show('api', await answer(await fetch('/api/orders/list?page=1'))));
document.getElementById('logout').addEventListener('click', async () => show('ended', await answer(await fetch('/bff/logout', { method: 'POST' }))));

show('user', await user());
