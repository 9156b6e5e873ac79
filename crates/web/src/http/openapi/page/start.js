// Swagger UI on this service's own document. It asks no other address, not even to validate.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  onComplete: () => { document.title = document.querySelector(".title").firstChild.textContent; },
});
