console.log("the app is up");
