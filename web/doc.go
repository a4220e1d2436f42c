// Package web owns what Cloakroom itself gives a browser to show or to run: the pages of failed sign-ins, the bounce page,
// and the ES module that an SPA speaks to Cloakroom with. Others hand it values and leave every byte of HTML, and the
// escaping of what is put into it, to this package.
package web
